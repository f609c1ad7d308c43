"""Grafana panels as plain dictionaries: the kinds that the dashboards use.

The field names are those of Grafana's dashboard model, schema version 39 (Grafana 11; later ones migrate it at load).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

Panel = dict[str, Any]
Target = dict[str, Any]
Mapping = dict[str, Any]

DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
GRID_WIDTH = 24
NO_DATA = {"text": "无数据 No data", "color": "red"}
LIMIT = "限值 Limit"
LIMIT_COLORS = {"slow_burn": "orange", "trickle_burn": "yellow"}
"""Colours of several limits in one panel; a single limit is red."""


def query(expression: str, legend: str = "", *, instant: bool = False, form: str = "time_series") -> Target:
    """One query of a panel.

    Parameters
    ----------
    expression : str
        PromQL.
    legend : str
        Template of a series' name, such as ``{{handler}}``.
    instant : bool
        Asked for one moment, the end of the time that is looked at: a value that has gone is then shown as gone,
        where the last value of a range would still be shown.
    form : {"time_series", "table", "heatmap"}
    """
    return {
        "datasource": DATASOURCE,
        "expr": expression,
        "legendFormat": legend or "__auto",
        "format": form,
        "instant": instant,
        "range": not instant,
        "editorMode": "code",
    }


def values(**shown: tuple[str, str]) -> list[Mapping]:
    """Texts and colours for values; the names are ``_1``, ``_0`` for 1 and 0."""
    options = {
        value.removeprefix("_"): {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(shown.items())
    }
    return [{"type": "value", "options": options}]


def values_or_red(**shown: tuple[str, str]) -> list[Mapping]:
    """Like `values`, with missing data in red.

    Not for states over time: there a check that is told of only while it holds would be red whenever it does not.
    """
    absent = NO_DATA | {"index": len(shown)}
    return [*values(**shown), {"type": "special", "options": {"match": "null+nan", "result": absent}}]


def thresholds(base: str, *steps: tuple[float, str]) -> dict[str, Any]:
    """Colours by value: `base` below the first step."""
    return {
        "mode": "absolute",
        "steps": [{"color": base, "value": None}, *({"color": color, "value": value} for value, color in steps)],
    }


def limit(of: str, legend: str = LIMIT) -> Target:
    """The threshold of an alert as a dashed line, read from the series `ccmusic:limit`."""
    return query(f'ccmusic:limit{{of="{of}"}}', legend)


def overrides(names: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """A display name and a colour for each series, by its name in the legend."""
    return [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [
                {"id": "displayName", "value": shown},
                {"id": "color", "value": {"mode": "fixed", "fixedColor": color}},
            ],
        }
        for name, (shown, color) in names.items()
    ]


def colors(**fixed: str) -> list[dict[str, Any]]:
    """A colour for each series, by its name in the legend."""
    return [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
        }
        for name, color in fixed.items()
    ]


def _dashed(target: Target) -> list[dict[str, Any]]:
    """Style of a limit; nothing for other series."""
    if (of := re.fullmatch(r'ccmusic:limit\{of="(\w+)"\}', target["expr"])) is None:
        return []
    properties = {
        "color": {"mode": "fixed", "fixedColor": LIMIT_COLORS.get(of[1], "red")},
        "custom.lineStyle": {"fill": "dash", "dash": [8, 6]},
        "custom.fillOpacity": 0,
        "custom.stacking": {"mode": "none", "group": "A"},
    }
    return [
        {
            "matcher": {"id": "byName", "options": target["legendFormat"]},
            "properties": [{"id": name, "value": value} for name, value in properties.items()],
        }
    ]


def _panel(
    kind: str, title: str, targets: Sequence[Target], description: tuple[str, str], runbooks: Sequence[str]
) -> Panel:
    return {
        "type": kind,
        "title": title,
        "description": "\n\n".join(filter(None, description)),
        "datasource": DATASOURCE,
        "targets": [target | {"refId": chr(ord("A") + index)} for index, target in enumerate(targets)],
        "links": [
            {"title": f"手册 Runbook {name}", "url": f"${{runbooks}}/{name}.md", "targetBlank": True}
            for name in runbooks
        ],
        "transparent": False,
    }


def _field(unit: str, **more: Any) -> dict[str, Any]:
    return {"unit": unit, "mappings": [], "color": {"mode": "thresholds"}, "thresholds": thresholds("green")} | more


def stat(
    title: str,
    target: Target,
    *,
    unit: str = "none",
    mappings: list[Mapping] | None = None,
    limits: dict[str, Any] | None = None,
    decimals: int | None = None,
    color: str = "value",
    description: tuple[str, str] = ("", ""),
    runbooks: Sequence[str] = (),
) -> Panel:
    """One large value, by default coloured by its thresholds."""
    field = _field(unit, mappings=mappings or [], thresholds=limits or thresholds("text"))
    if decimals is not None:
        field["decimals"] = decimals
    return _panel("stat", title, [target], description, runbooks) | {
        "fieldConfig": {"defaults": field, "overrides": []},
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": color,
            "graphMode": "none",
            "justifyMode": "center",
            "textMode": "value",
            "orientation": "auto",
            "wideLayout": True,
            "showPercentChange": False,
        },
    }


def graph(
    title: str,
    *targets: Target,
    unit: str = "short",
    stacked: bool = False,
    counter: bool = False,
    logarithmic: bool = False,
    minimum: float | None = 0,
    maximum: float | None = None,
    decimals: int | None = None,
    named: list[dict[str, Any]] | None = None,
    legend: str = "bottom",
    description: tuple[str, str] = ("", ""),
    runbooks: Sequence[str] = (),
) -> Panel:
    """Curves over time; counters as steps."""
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "stepAfter" if counter else "linear",
        "lineWidth": 1,
        "fillOpacity": 60 if stacked else 8,
        "gradientMode": "none",
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "off"},
        "scaleDistribution": {"type": "log", "log": 10} if logarithmic else {"type": "linear"},
    }
    field = _field(unit, custom=custom, color={"mode": "palette-classic"})
    bounds = {"min": None if logarithmic else minimum, "max": maximum, "decimals": decimals}
    field |= {name: value for name, value in bounds.items() if value is not None}
    named = [*(named or []), *(entry for target in targets for entry in _dashed(target))]
    return _panel("timeseries", title, targets, description, runbooks) | {
        "fieldConfig": {"defaults": field, "overrides": named},
        "options": {
            "legend": {"showLegend": True, "displayMode": "list", "placement": legend, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def states(
    title: str,
    *targets: Target,
    mappings: list[Mapping],
    description: tuple[str, str] = ("", ""),
    runbooks: Sequence[str] = (),
) -> Panel:
    """Coloured bands over time, one line for each series."""
    field = _field("none", mappings=mappings, custom={"fillOpacity": 85, "lineWidth": 0, "spanNulls": False})
    return _panel("state-timeline", title, targets, description, runbooks) | {
        "fieldConfig": {"defaults": field, "overrides": []},
        "options": {
            "mergeValues": True,
            "showValue": "never",
            "alignValue": "center",
            "rowHeight": 0.85,
            "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "single", "sort": "none"},
        },
    }


def table(
    title: str,
    target: Target,
    columns: dict[str, str],
    *,
    hidden: Sequence[str] = (),
    link: tuple[str, str, str] | None = None,
    no_value: str = "",
    description: tuple[str, str] = ("", ""),
    runbooks: Sequence[str] = (),
) -> Panel:
    """The labels of an instant query's series.

    Parameters
    ----------
    columns : dict of str to str
        Labels in the order of the columns, and their headings.
    hidden : sequence of str
        Labels that are left out, beside the time, the value and the metric's name.
    link : tuple of str, optional
        A column's heading, and the title and address that its cells lead to.
    no_value : str
        Shown where there is no series at all.
    """
    field = _field("none", custom={"align": "left", "cellOptions": {"type": "auto"}, "filterable": False})
    if no_value:
        field["noValue"] = no_value
    named = []
    if link is not None:
        column, words, address = link
        value = [{"title": words, "url": address, "targetBlank": True}]
        named = [{"matcher": {"id": "byName", "options": column}, "properties": [{"id": "links", "value": value}]}]
    organize = {
        "excludeByName": {name: True for name in ("Time", "Value", "__name__", *hidden)},
        "indexByName": {name: index for index, name in enumerate(columns)},
        "renameByName": columns,
    }
    return _panel("table", title, [target], description, runbooks) | {
        "fieldConfig": {"defaults": field, "overrides": named},
        "options": {
            "showHeader": True,
            "cellHeight": "sm",
            "footer": {"show": False, "reducer": ["sum"], "fields": ""},
        },
        "transformations": [{"id": "organize", "options": organize}],
    }


def shares(
    title: str, target: Target, *, named: list[dict[str, Any]] | None = None, description: tuple[str, str] = ("", "")
) -> Panel:
    """Horizontal bars of an instant query's series, from 0 to 1."""
    field = _field("percentunit", min=0, decimals=1, color={"mode": "palette-classic"})
    return _panel("bargauge", title, [target], description, ()) | {
        "fieldConfig": {"defaults": field, "overrides": named or []},
        "options": {
            "orientation": "horizontal",
            "displayMode": "basic",
            "valueMode": "text",
            "showUnfilled": False,
            "namePlacement": "left",
            "sizing": "auto",
            "minVizWidth": 8,
            "minVizHeight": 12,
            "maxVizHeight": 40,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "legend": {"showLegend": False, "displayMode": "list", "placement": "bottom", "calcs": []},
        },
    }


def heatmap(title: str, target: Target, *, unit: str, description: tuple[str, str] = ("", "")) -> Panel:
    """A histogram over time, one row for each bucket."""
    return _panel("heatmap", title, [target], description, ()) | {
        "fieldConfig": {
            "defaults": {"custom": {"hideFrom": {"legend": False, "tooltip": False, "viz": False}}},
            "overrides": [],
        },
        "options": {
            "calculate": False,
            "cellGap": 1,
            "color": {
                "mode": "scheme",
                "scheme": "Blues",
                "steps": 64,
                "reverse": False,
                "fill": "dark-blue",
                "scale": "exponential",
                "exponent": 0.5,
            },
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit, "decimals": 0},
        },
    }


Row = tuple[int, Sequence[Panel]]
"""A height, and the panels side by side with this height."""
Line = str | Row
"""The heading of a section, or a row of panels."""


def line(height: int, *panels: Panel) -> Row:
    """Panels side by side that share the width of the grid."""
    return height, panels


def _heading(text: str) -> Row:
    return line(1, {"type": "row", "title": text, "collapsed": False, "panels": [], "w": GRID_WIDTH})


def dashboard(uid: str, title: str, description: str, *sections: Iterable[Line]) -> dict[str, Any]:
    """A whole dashboard.

    Parameters
    ----------
    *sections : iterable of Line
        A heading and lines each. A panel's own ``w`` is taken first, the others share the rest evenly.
    """
    placed: list[Panel] = []
    y = 0
    for item in chain.from_iterable(sections):
        height, panels = _heading(item) if isinstance(item, str) else item
        x = 0
        for panel, width in zip(panels, _widths(panels), strict=True):
            placed.append(_placed(panel, x, y, width, height))
            x += width
        y += height
    for number, panel in enumerate(placed, start=1):
        panel["id"] = number
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["ccmusic"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "fiscalYearStartMonth": 0,
        "templating": {"list": [_instance(), _runbooks()] if "$instance" in str(placed) else [_runbooks()]},
        "annotations": {"list": [_alerts()]},
        "links": [
            {
                "type": "dashboards",
                "title": "CCMusic",
                "tags": ["ccmusic"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            },
            {
                "type": "link",
                "title": "运行手册 Runbooks",
                "url": "${runbooks}",
                "icon": "doc",
                "tooltip": "",
                "tags": [],
                "asDropdown": False,
                "includeVars": False,
                "keepTime": False,
                "targetBlank": True,
            },
        ],
        "panels": placed,
    }


def wide(panel: Panel, width: int) -> Panel:
    """The panel with its own width in its line."""
    return panel | {"w": width}


def _widths(panels: Sequence[Panel]) -> list[int]:
    own = [panel.get("w") for panel in panels]
    rest = GRID_WIDTH - sum(width for width in own if width is not None)
    shared, over = divmod(rest, own.count(None)) if None in own else (0, 0)
    if shared < 0 or (None not in own and rest):
        raise ValueError(f"{[panel['title'] for panel in panels]} do not fill a line of {GRID_WIDTH}")
    widths = []
    for width in own:
        widths.append(shared + (over > 0) if width is None else width)
        over -= width is None
    return widths


def _placed(panel: Panel, x: int, y: int, w: int, h: int) -> Panel:
    return {name: value for name, value in panel.items() if name != "w"} | {"gridPos": {"x": x, "y": y, "w": w, "h": h}}


def _instance() -> dict[str, Any]:
    expression = 'label_values(ccmusic_uptime_seconds{job="ccmusic"}, instance)'
    return {
        "name": "instance",
        "label": "实例 Instance",
        "type": "query",
        "datasource": DATASOURCE,
        "definition": expression,
        "query": {"qryType": 1, "query": expression, "refId": "instance"},
        "includeAll": True,
        "allValue": ".+",
        "multi": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "hide": 0,
        "options": [],
        "skipUrlSync": False,
    }


def _runbooks() -> dict[str, Any]:
    address = "https://runbooks.example.org/ccmusic"
    return {
        "name": "runbooks",
        "label": "手册地址 Runbooks at",
        "description": "Where your copy of docs/runbooks is served, as in external_labels.runbooks of Prometheus.",
        "type": "textbox",
        "query": address,
        "current": {"selected": True, "text": address, "value": address},
        "options": [{"selected": True, "text": address, "value": address}],
        "hide": 0,
        "skipUrlSync": False,
    }


def _alerts() -> dict[str, Any]:
    return {
        "name": "告警 Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": "red",
        "target": {
            "expr": 'ALERTS{alertstate="firing",service="ccmusic",severity!="none"}',
            "refId": "Alerts",
            "interval": "",
        },
        "titleFormat": "{{alertname}}",
        "textFormat": "{{severity}}",
        "tagKeys": "severity",
        "useValueForTime": False,
    }
