"""Draws a Grafana dashboard's JSON with Prometheus' answers: the grid, titles, units and colours that the JSON says.

Drawn are the kinds of panels that our dashboards are made of, after Grafana's light theme. It is not Grafana.
"""

from __future__ import annotations

import html
import io
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageColor
from playwright.sync_api import sync_playwright

from deploy.dashboards import series_name

Panel = dict[str, Any]
Answer = list[dict[str, Any]]

WIDTH, GRID, ROW, GAP, MARGIN = 1600, 24, 36, 8, 16
CHARACTER = 6.3
"""Mean width of a Latin character at 11 px; a Chinese one takes twice that."""
# fmt: off
NAMED = {
    "green": "#56a64b", "dark-green": "#37872d", "yellow": "#f2cc0c", "orange": "#ff780a", "red": "#e02f44",
    "dark-red": "#9b1226", "blue": "#3274d9", "purple": "#a352cc", "text": "#6b7280",
}
PALETTE = (
    "#56a64b", "#f2cc0c", "#3274d9", "#ff780a", "#e02f44", "#a352cc", "#8ab8ff", "#b5651d", "#1b7f79", "#c2377e",
    "#96d98d", "#7a8b99", "#ffb357", "#5a2d91",
)
# fmt: on
NO_DATA = "无数据 No data"

STYLE = """
* { box-sizing: border-box; margin: 0 }
body { width: 1600px; background: #f4f5f5; color: #24292e; font: 12px "Noto Sans CJK SC", sans-serif }
header { padding: 14px 16px 2px } h1 { font-size: 20px; font-weight: 600 } header p { color: #57606a; margin-top: 2px }
main { position: relative }
.panel { position: absolute; background: #fff; border: 1px solid #d8d9da; border-radius: 3px; overflow: hidden }
.row { position: absolute; font-size: 15px; font-weight: 600; padding-top: 9px }
h2 { font-size: 12.5px; font-weight: 600; padding: 5px 8px 0; height: 24px; white-space: nowrap }
.legend { position: absolute; left: 8px; right: 4px; bottom: 3px; line-height: 15px; font-size: 11px }
.legend.right { left: auto; top: 26px; right: 8px } .legend.right span { display: block }
.legend span { margin-right: 10px; white-space: nowrap; display: inline-block }
.legend i { display: inline-block; width: 12px; height: 3px; border-radius: 2px; margin-right: 4px }
.legend i { vertical-align: middle }
.big, .none { position: absolute; inset: 20px 0 0; display: flex; align-items: center; justify-content: center }
.big { font-weight: 600 } .none { color: #8e959c }
table { border-collapse: collapse; width: 100%; font-size: 12px }
th { text-align: left; color: #3274d9; font-weight: 600 }
th, td { padding: 4px 8px; border-bottom: 1px solid #e7e8e9; vertical-align: top; white-space: nowrap }
.long { white-space: normal; overflow-wrap: anywhere }
svg { position: absolute; left: 0; top: 0 } svg text { font-size: 11px; fill: #57606a }
footer { padding: 8px 16px 14px; color: #57606a; line-height: 17px }
"""


@dataclass(frozen=True)
class Curve:
    """One series as it is drawn."""

    name: str
    color: str
    points: list[tuple[float, float]]
    dashed: bool = False


def draw(dashboard: dict[str, Any], answers: dict[str, list[Answer]], data: dict[str, Any], path: Path) -> None:
    """Write the picture of one dashboard.

    Parameters
    ----------
    answers : dict of str to list of Answer
        By panel, one for each of its queries.
    data : dict
        `start`, `end` and `step` of the time, the `alerts` that fired in it; `words` and `told` for the caption.
    """
    page_text = "".join(_page(dashboard, answers, data))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 600})
        page.set_content(page_text)
        picture = page.screenshot(full_page=True)
        browser.close()
    _fewer_colors(Image.open(io.BytesIO(picture)).convert("RGB")).save(path, optimize=True)


def _fewer_colors(picture: Image.Image) -> Image.Image:
    """256 colours, a third of the bytes: ours as they are, however small a mark they make, and the most frequent."""
    ours = [ImageColor.getrgb(color) for color in (*NAMED.values(), *PALETTE)]
    counted = sorted(picture.getcolors(picture.width * picture.height), reverse=True)
    chosen = list(dict.fromkeys([*ours, *(color for _, color in counted)]))[:256]
    palette = Image.new("P", (1, 1))
    palette.putpalette([level for color in chosen for level in color])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _page(dashboard: dict[str, Any], answers: dict[str, list[Answer]], data: dict[str, Any]) -> Iterator[str]:
    yield f"<!doctype html><html lang=zh-CN><meta charset=utf-8><style>{STYLE}</style>"
    yield f"<header><h1>{html.escape(dashboard['title'])}</h1><p>{html.escape(dashboard['description'])}</p></header>"
    height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard["panels"]) * ROW
    yield f"<main style='height:{height}px'>"
    for panel in dashboard["panels"]:
        yield from _placed(panel, answers.get(str(panel["id"]), []), data)
    yield "</main><footer>"
    yield (
        "由 bench/dashboard.py 按仪表盘 JSON 与真实 Prometheus 的查询结果绘制，并非 Grafana 截图。 "
        "Drawn by bench/dashboard.py from the dashboard's JSON and the answers of a real Prometheus, not by Grafana. "
    )
    yield html.escape(
        f"{data['words']}. UTC: {'; '.join(data['told'])}. Red shading: an alert fires 红色阴影：告警触发中。"
    )
    yield "</footer>"


def _placed(panel: Panel, answers: list[Answer], data: dict[str, Any]) -> Iterator[str]:
    at = panel["gridPos"]
    column = (WIDTH - 2 * MARGIN + GAP) / GRID
    width, height = at["w"] * column - GAP, at["h"] * ROW - GAP
    place = f"left:{MARGIN + at['x'] * column:.1f}px;top:{at['y'] * ROW + GAP}px;width:{width:.1f}px;height:{height}px"
    if panel["type"] == "row":
        yield f"<div class=row style='{place}'>▾ {html.escape(panel['title'])}</div>"
        return
    inner, background = KINDS[panel["type"]](panel, answers, data, (width, height))
    ink = "" if background is None else f";background:{background};color:#fff"
    yield f"<div class=panel style='{place}{ink}'><h2>{html.escape(panel['title'])}</h2>{inner}</div>"


Drawn = tuple[str, str | None]
"""What is inside a panel, and its colour where it is not white."""


def _stat(panel: Panel, answers: list[Answer], data: dict[str, Any], size: tuple[float, float]) -> Drawn:
    field = panel["fieldConfig"]["defaults"]
    numbers = [float(series["value"][1]) for series in answers[0]]
    value = numbers[0] if numbers and math.isfinite(numbers[0]) else None
    mapped = _mapped(field, value)
    if mapped is not None:
        text, color = mapped["text"], _color(mapped["color"])
    elif value is None:
        text, color = NO_DATA, _color(field["thresholds"]["steps"][0]["color"])
    else:
        text, color = _unit(value, field["unit"], field.get("decimals")), _threshold(field, value)
    filled = panel["options"]["colorMode"] == "background"
    font = min(34.0, 1.7 * size[0] / max(4.0, _width(text) / CHARACTER))
    ink = "#fff" if filled else color
    return (
        f"<div class=big style='font-size:{font:.0f}px;color:{ink}'>{html.escape(text)}</div>",
        color if filled else None,
    )


def _graph(panel: Panel, answers: list[Answer], data: dict[str, Any], size: tuple[float, float]) -> Drawn:
    curves = _curves(panel, answers)
    if not curves:
        return f"<div class=none>{NO_DATA}</div>", None
    field = panel["fieldConfig"]["defaults"]
    custom = field["custom"]
    legend, below, beside = _legend(panel, curves, size)
    frame = _Frame(size, data, below, beside)
    times = [data["start"] + i * data["step"] for i in range(round((data["end"] - data["start"]) / data["step"]) + 1)]
    stacked = custom["stacking"]["mode"] == "normal"
    layers = _layers(curves, times) if stacked else []
    tops = [top for _, _, upper in layers for top in upper] + [
        v for c in curves if not layers or c.dashed for _, v in c.points
    ]
    logarithmic = custom["scaleDistribution"]["type"] == "log"
    scale = _Scale(tops, field, logarithmic=logarithmic)
    marks = [_alert_shades(frame, data), _axes(frame, scale, field)]
    for curve, lower, upper in layers:
        outline = [(t, b) for t, b in zip(times, upper, strict=True)] + [*zip(times[::-1], lower[::-1], strict=True)]
        path = " ".join(f"{frame.x(t):.1f},{frame.y(scale.share(v)):.1f}" for t, v in outline)
        marks.append(f"<polygon points='{path}' fill='{curve.color}' fill-opacity='{custom['fillOpacity'] / 100}'/>")
    for curve in curves:
        if layers and not curve.dashed:
            continue
        marks += _line(curve, frame, scale, data["step"], stepped=custom["lineInterpolation"] == "stepAfter")
    return f"<svg width='{size[0]:.0f}' height='{size[1]:.0f}'>{''.join(marks)}</svg>{legend}", None


def _line(curve: Curve, frame: _Frame, scale: _Scale, step: float, *, stepped: bool) -> list[str]:
    parts: list[list[tuple[float, float]]] = [[]]
    for i, (t, value) in enumerate(curve.points):
        if i and t - curve.points[i - 1][0] > 1.5 * step:
            parts.append([])  # a gap in the data is a gap in the curve
        elif i and stepped:
            parts[-1].append((frame.x(t), parts[-1][-1][1]))
        parts[-1].append((frame.x(t), frame.y(scale.share(value))))
    dash = " stroke-dasharray='8 6'" if curve.dashed else ""
    drawn = [" ".join(f"{x:.1f},{y:.1f}" for x, y in [*part, (part[-1][0] + 1, part[-1][1])]) for part in parts if part]
    return [f"<polyline points='{p}' fill='none' stroke='{curve.color}' stroke-width='1.6'{dash}/>" for p in drawn]


def _states(panel: Panel, answers: list[Answer], data: dict[str, Any], size: tuple[float, float]) -> Drawn:
    curves = _curves(panel, answers)
    if not curves:
        return f"<div class=none>{NO_DATA}</div>", None
    field = panel["fieldConfig"]["defaults"]
    names = max(_width(curve.name) for curve in curves) + 14
    words = [
        entry for mapping in field["mappings"] if mapping["type"] == "value" for entry in mapping["options"].values()
    ]
    keys = "".join(
        f"<span><i style='background:{_color(w['color'])}'></i>{html.escape(w['text'])}</span>" for w in words
    )
    frame = _Frame(size, data, 20, 0, left=names)
    marks = [_times(frame)]
    step = data["step"]
    tall = (frame.bottom - frame.top) / len(curves)
    for i, curve in enumerate(curves):
        y = frame.top + i * tall
        marks.append(
            f"<text x='{names - 6:.0f}' y='{y + tall / 2 + 4:.1f}' text-anchor='end'>{html.escape(curve.name)}</text>"
        )
        for begin, end, value in _bands(curve.points, step):
            mapped = _mapped(field, value)
            color = _color(mapped["color"]) if mapped else _threshold(field, value)
            x = max(frame.left, frame.x(begin))
            marks.append(
                f"<rect x='{x:.1f}' y='{y + 0.08 * tall:.1f}' width='{min(frame.right, frame.x(end)) - x:.1f}' "
                f"height='{0.84 * tall:.1f}' fill='{color}' fill-opacity='0.85'/>"
            )
    svg = f"<svg width='{size[0]:.0f}' height='{size[1]:.0f}'>{''.join(marks)}</svg>"
    return f"{svg}<div class=legend>{keys}</div>", None


def _bands(points: Sequence[tuple[float, float]], step: float) -> list[tuple[float, float, float]]:
    """Runs of one value: begin, end, value."""
    bands: list[tuple[float, float, float]] = []
    for t, value in points:
        if bands and bands[-1][2] == value and t - bands[-1][1] < step / 2:
            bands[-1] = (bands[-1][0], t + step, value)
        else:
            bands.append((t, t + step, value))
    return bands


def _table(panel: Panel, answers: list[Answer], data: dict[str, Any], size: tuple[float, float]) -> Drawn:
    organize = panel["transformations"][0]["options"]
    columns = [name for name in organize["indexByName"] if not organize["excludeByName"].get(name)]
    if not answers[0]:
        return f"<div class=none>{html.escape(panel['fieldConfig']['defaults'].get('noValue', NO_DATA))}</div>", None
    head = "".join(f"<th>{html.escape(organize['renameByName'][name])}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(_cell(series["metric"].get(name, "")) for name in columns) + "</tr>" for series in answers[0]
    )
    return f"<table><tr>{head}</tr>{body}</table>", None


def _cell(text: str) -> str:
    return f"<td{' class=long' if len(text) > 32 else ''}>{html.escape(text)}</td>"


def _shares(panel: Panel, answers: list[Answer], data: dict[str, Any], size: tuple[float, float]) -> Drawn:
    field = panel["fieldConfig"]["defaults"]
    curves = _curves(panel, answers)
    names = max(_width(curve.name) for curve in curves) + 16
    most = max(curve.points[0][1] for curve in curves)
    tall = (size[1] - 34) / len(curves)
    marks = []
    for i, curve in enumerate(curves):
        y, value = 28 + i * tall, curve.points[0][1]
        words = _unit(value, field["unit"], field["decimals"])
        long = value / most * (size[0] - names - 64)
        marks.append(
            f"<text x='{names - 6:.0f}' y='{y + tall / 2 + 4:.1f}' text-anchor='end'>{html.escape(curve.name)}</text>"
            f"<rect x='{names:.0f}' y='{y + 2:.1f}' width='{long:.1f}' height='{tall - 4:.1f}' fill='{curve.color}'/>"
            f"<text x='{names + long + 6:.0f}' y='{y + tall / 2 + 4:.1f}'>{words}</text>"
        )
    return f"<svg width='{size[0]:.0f}' height='{size[1]:.0f}'>{''.join(marks)}</svg>", None


def _heatmap(panel: Panel, answers: list[Answer], data: dict[str, Any], size: tuple[float, float]) -> Drawn:
    rows = sorted(((float(s["metric"]["le"]), dict(_points(s))) for s in answers[0]), key=lambda row: row[0])
    rows = [row for row in rows if math.isfinite(row[0])]
    if not rows:
        return f"<div class=none>{NO_DATA}</div>", None
    frame = _Frame(size, data, 4, 0, left=52)
    tall = (frame.bottom - frame.top) / len(rows)
    counts = [
        (t, i, total - (rows[i - 1][1].get(t, 0.0) if i else 0.0))
        for i, (_, row) in enumerate(rows)
        for t, total in row.items()
    ]
    most = max(count for _, _, count in counts) or 1.0
    wide = frame.x(data["start"] + data["step"]) - frame.x(data["start"])
    marks = [_times(frame)]
    for t, i, count in counts:
        if count > 1e-9:
            strength = (count / most) ** 0.5
            marks.append(
                f"<rect x='{frame.x(t) - wide / 2:.1f}' y='{frame.bottom - (i + 1) * tall:.1f}' width='{wide:.1f}' "
                f"height='{tall - 1:.1f}' fill='#08519c' fill-opacity='{0.08 + 0.92 * strength:.2f}'/>"
            )
    unit = panel["options"]["yAxis"]["unit"]
    for i, (top, _) in enumerate(rows):
        y = frame.bottom - (i + 0.5) * tall + 4
        marks.append(f"<text x='46' y='{y:.1f}' text-anchor='end'>≤ {_unit(top, unit, 0)}</text>")
    return f"<svg width='{size[0]:.0f}' height='{size[1]:.0f}'>{''.join(marks)}</svg>", None


KINDS: dict[str, Callable[[Panel, list[Answer], dict[str, Any], tuple[float, float]], Drawn]] = {
    "stat": _stat,
    "timeseries": _graph,
    "state-timeline": _states,
    "table": _table,
    "bargauge": _shares,
    "heatmap": _heatmap,
}


class _Frame:
    """Where the curves lie in a panel."""

    def __init__(
        self, size: tuple[float, float], data: dict[str, Any], below: float, beside: float, left: float = 58
    ) -> None:
        self.left, self.right = left, size[0] - 12 - beside
        self.top, self.bottom = 30.0, size[1] - below - 22
        self.start, self.end = data["start"], data["end"]

    def x(self, t: float) -> float:
        return self.left + (t - self.start) / (self.end - self.start) * (self.right - self.left)

    def y(self, share: float) -> float:
        return self.bottom - share * (self.bottom - self.top)


class _Scale:
    """From values to a share of the height, and round numbers on the way."""

    def __init__(self, values: Sequence[float], field: dict[str, Any], *, logarithmic: bool) -> None:
        self.logarithmic = logarithmic
        if logarithmic:
            positive = [value for value in values if value > 0] or [1.0]
            low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
            self.low, self.high = low, max(high, low + 1)
            self.ticks = [10.0**power for power in range(low, self.high + 1)]
            return
        self.low = min([field["min"]] if "min" in field else [*values, 0.0])
        top = field.get("max", 1.04 * max([*values, 0.0]) or 1.0)
        step = _step(top - self.low, field["unit"])
        self.high = top if "max" in field else math.ceil(top / step - 1e-9) * step
        self.ticks = [self.low + i * step for i in range(int((self.high - self.low) / step + 1e-6) + 1)]

    def share(self, value: float) -> float:
        if self.logarithmic:
            value = math.log10(max(value, 10.0**self.low))
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def _step(span: float, unit: str) -> float:
    base = 1.0
    if unit == "bytes":
        base = 1024.0 ** math.floor(math.log(max(span, 1), 1024))
    elif unit == "s" and span > 150:
        base = 3600.0 if span > 9000 else 60.0
    rough = max(span, 1e-12) / base / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return base * power * next(nice for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough * 0.999)


def _axes(frame: _Frame, scale: _Scale, field: dict[str, Any]) -> str:
    marks = [_times(frame)]
    for tick in scale.ticks:
        y = frame.y(scale.share(tick))
        marks.append(f"<line x1='{frame.left}' x2='{frame.right:.0f}' y1='{y:.1f}' y2='{y:.1f}' stroke='#e9edf2'/>")
        words = _unit(tick, field["unit"], None)
        marks.append(f"<text x='{frame.left - 6}' y='{y + 4:.1f}' text-anchor='end'>{words}</text>")
    return "".join(marks)


def _times(frame: _Frame) -> str:
    every = next(
        s for s in (60, 120, 180, 300, 600, 1800, 3600) if (frame.end - frame.start) / s * 62 < frame.right - frame.left
    )
    marks = []
    t = math.ceil(frame.start / every) * every
    while t <= frame.end:
        x = frame.x(t)
        marks.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{frame.top}' y2='{frame.bottom:.0f}' stroke='#eef1f4'/>")
        if x < frame.right - 12:
            words = time.strftime("%H:%M", time.gmtime(t))
            marks.append(f"<text x='{x:.1f}' y='{frame.bottom + 15:.0f}' text-anchor='middle'>{words}</text>")
        t += every
    return "".join(marks)


def _alert_shades(frame: _Frame, data: dict[str, Any]) -> str:
    fired = sorted({t for series in data["alerts"] for t, _ in _points(series)})
    return "".join(
        f"<rect x='{frame.x(begin):.1f}' y='{frame.top}' width='{min(frame.right, frame.x(end)) - frame.x(begin):.1f}' "
        f"height='{frame.bottom - frame.top:.1f}' fill='#e02f44' fill-opacity='0.09'/>"
        for begin, end, _ in _bands([(t, 1.0) for t in fired], data["step"])
    )


def _layers(curves: Sequence[Curve], times: Sequence[float]) -> list[tuple[Curve, list[float], list[float]]]:
    """Each curve on top of those before it."""
    base = [0.0] * len(times)
    layers = []
    for curve in curves:
        if not curve.dashed:
            points = {round(t): value for t, value in curve.points}
            upper = [low + points.get(round(t), 0.0) for low, t in zip(base, times, strict=True)]
            layers.append((curve, base, upper))
            base = upper
    return layers


def _curves(panel: Panel, answers: list[Answer]) -> list[Curve]:
    overrides = {
        entry["matcher"]["options"]: {p["id"]: p["value"] for p in entry["properties"]}
        for entry in panel["fieldConfig"]["overrides"]
    }
    curves: list[Curve] = []
    for target, answer in zip(panel["targets"], answers, strict=True):
        for series in answer:
            if points := list(_points(series)):
                name = series_name(target, series["metric"])
                own = overrides.get(name, {})
                color = own.get("color", {}).get("fixedColor") or PALETTE[len(curves) % len(PALETTE)]
                dashed = "custom.lineStyle" in own
                curves.append(Curve(own.get("displayName", name), _color(color), points, dashed))
    return curves


def _points(series: dict[str, Any]) -> Iterator[tuple[float, float]]:
    for t, word in [series["value"]] if "value" in series else series["values"]:
        if math.isfinite(value := float(word)):
            yield t, value


def _legend(panel: Panel, curves: Sequence[Curve], size: tuple[float, float]) -> tuple[str, float, float]:
    """The legend, and the room that it takes below and beside."""
    items = "".join(f"<span><i style='background:{c.color}'></i>{html.escape(c.name)}</span>" for c in curves)
    widths = [_width(curve.name) + 27 for curve in curves]
    if panel["options"]["legend"]["placement"] == "right":
        return f"<div class='legend right'>{items}</div>", 0, max(widths) + 4
    lines, used = 1, 0.0
    for width in widths:
        if used and used + width > size[0] - 12:
            lines, used = lines + 1, 0.0
        used += width
    return f"<div class=legend>{items}</div>", 15 * lines + 4, 0


def _width(text: str) -> float:
    return sum(2 * CHARACTER if ord(character) > 0x2E80 else CHARACTER for character in text)


def _color(name: str) -> str:
    return NAMED.get(name, name)


def _mapped(field: dict[str, Any], value: float | None) -> dict[str, Any] | None:
    for mapping in field["mappings"]:
        if mapping["type"] == "value" and value is not None and f"{value:g}" in mapping["options"]:
            return dict(mapping["options"][f"{value:g}"])
        if mapping["type"] == "special" and value is None:
            return dict(mapping["options"]["result"])
    return None


def _threshold(field: dict[str, Any], value: float) -> str:
    passed = [s["color"] for s in field["thresholds"]["steps"] if s["value"] is None or value >= s["value"]]
    return _color(passed[-1])


def _number(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _unit(value: float, unit: str, decimals: int | None) -> str:
    steps: dict[str, list[tuple[float, str]]] = {
        "s": [(86400, " d"), (3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")],
        "bytes": [(2**40, " TiB"), (2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1, " B")],
        "short": [(1e6, " Mil"), (1e3, " K")],
    }
    if unit == "percentunit":
        return f"{_number(100 * value, decimals)} %"
    if unit == "locale":
        return f"{value:,.{decimals or 0}f}"
    for size, name in steps.get(unit, []):
        if abs(value) >= size * 0.9999:
            return _number(value / size, 1 if unit == "s" and size >= 60 and value % size else decimals) + name
    return _number(value, decimals) + {"reqps": " /s", "cpm": " /min", "h": " h", "s": " s"}.get(unit, "")
