"""Write ``prometheusrule.yaml``: the rules of ``deploy/prometheus/rules`` as the Prometheus operator wants them.

The text of the groups is kept as it is, comments too; it only moves to the right.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

HERE = Path(__file__).parent
RULES = HERE.parents[1] / "prometheus" / "rules" / "ccmusic.rules.yml"
RESULT = HERE / "prometheusrule.yaml"

HEAD = """\
# Made by make_prometheus_rule.py from deploy/prometheus/rules/ccmusic.rules.yml: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ccmusic
  namespace: ccmusic
  labels:
    app.kubernetes.io/name: ccmusic
spec:
"""


def prometheus_rule(rules: str) -> str:
    """The resource, as text, for the text of a rules file."""
    groups = re.search(r"^groups:.*", rules, re.MULTILINE | re.DOTALL)
    if groups is None:
        raise ValueError("there is no `groups:` in the rules")
    return HEAD + textwrap.indent(groups[0].rstrip() + "\n", "  ")


if __name__ == "__main__":
    RESULT.write_text(prometheus_rule(RULES.read_text(encoding="utf-8")), encoding="utf-8")
