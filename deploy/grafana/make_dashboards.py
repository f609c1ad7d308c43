"""Writes dashboards/*.json; `tests/deploy/test_grafana.py` checks that the files are current.

    python deploy/grafana/make_dashboards.py [FOLDER]

Grafana needs only the files, not this script.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from music import music
from service import service
from slo import slo

FOLDER = Path(__file__).parent / "dashboards"

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for make in (service, music, slo):
        text = json.dumps(make(), ensure_ascii=False, indent=2) + "\n"
        (folder / f"{make.__name__}.json").write_text(text, encoding="utf-8")
