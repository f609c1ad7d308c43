"""The shipped dashboards as Grafana would ask them: their panels, and each query with its variables put in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"
FOLDER = GRAFANA / "dashboards"

Panel = dict[str, Any]


@dataclass(frozen=True)
class Window:
    """The time that is looked at.

    Attributes
    ----------
    end, seconds : float
        Its end (epoch seconds) and length.
    step_seconds : float
        What Grafana calls the interval: the time between two points.
    scrape_seconds : float
        What the data source says of the scrape interval.
    """

    end: float
    seconds: float
    step_seconds: float
    scrape_seconds: float

    @property
    def start(self) -> float:
        """Its beginning, in epoch seconds."""
        return self.end - self.seconds

    def filled(self, expression: str) -> str:
        """The expression with Grafana's variables put in; all instances are chosen.

        References
        ----------
        https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/
        """
        rate = max(self.step_seconds + self.scrape_seconds, 4 * self.scrape_seconds)
        for name, value in {
            "$__rate_interval": f"{1000 * rate:.0f}ms",
            "$__interval": f"{1000 * self.step_seconds:.0f}ms",
            "$__range": f"{self.seconds:.0f}s",
            "$instance": ".+",
        }.items():
            expression = expression.replace(name, value)
        if "$" in expression:
            raise ValueError(f"a variable that nobody filled in: {expression}")
        return expression


def dashboards() -> dict[str, dict[str, Any]]:
    """Every shipped dashboard by the name of its file."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> Iterator[Panel]:
    """Its panels that show something: all but the headings."""
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def metric_names(expression: str) -> set[str]:
    """The metrics in an expression."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"(?<![\w.:])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])", bare)
    return set(words) - {"or", "and", "unless", "bool", "offset"}


def series_name(target: dict[str, Any], labels: dict[str, str]) -> str:
    """What the legend calls a series."""
    template = target["legendFormat"]
    if template == "__auto":
        return ", ".join(f'{name}="{value}"' for name, value in labels.items() if name != "__name__")
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), template)
