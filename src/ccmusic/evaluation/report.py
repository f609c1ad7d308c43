"""The results of ``ccmusic evaluate``: as text, as Markdown with figures, as JSON and as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ccmusic.errors import of_extra
from ccmusic.evaluation.labelled_data import LabelledData
from ccmusic.inference.result import ModelIdentity
from ccmusic.scoring import markdown
from ccmusic.scoring.classification import top_k_accuracy
from ccmusic.scoring.comparison import Difference
from ccmusic.scoring.measures import Measures, measure

SHOWN_REFUSALS = 20
SCORES = {"top1": "top-1", "macro_f1": "macro-F1"}
FEW_UNITS = 10
"""With fewer artists than this, the bootstrap's interval is rough and usually too narrow."""


@dataclass(frozen=True, eq=False)
class Answers:
    """One model's answers on the usable recordings.

    Attributes
    ----------
    name : str
        The model, as the caller named it.
    identity : ModelIdentity
    probabilities : np.ndarray [shape=(n, labels)]
    uncertain : np.ndarray [shape=(n,), dtype=bool]
    by_seconds : dict of float to (np.ndarray [shape=(m, labels)], np.ndarray [shape=(m,)])
        Probabilities of cuts, and the rows of their recordings.
    """

    name: str
    identity: ModelIdentity
    probabilities: np.ndarray
    uncertain: np.ndarray
    by_seconds: dict[float, tuple[np.ndarray, np.ndarray]]

    def curve(self, reference: np.ndarray) -> dict[float, float]:
        """Top-1 accuracy by seconds."""
        return {s: top_k_accuracy(reference[rows], cuts) for s, (cuts, rows) in self.by_seconds.items() if len(rows)}


@dataclass(frozen=True, eq=False)
class Findings:
    """All results.

    Attributes
    ----------
    source : str
        The data, as the caller named them.
    data : LabelledData
        The usable recordings.
    labels : tuple of str
    models : tuple of Answers
        One, or two to compare.
    group : str or None
        Column of the CSV by which results are grouped.
    refused : dict of Path to str
        The reason for each recording that cannot be used.
    differences : dict of str to Difference
        Of the second model from the first.
    drawn : str
        The bootstrap's unit: ``artists`` or ``recordings``.
    """

    source: str
    data: LabelledData
    labels: tuple[str, ...]
    models: tuple[Answers, ...]
    group: str | None
    refused: dict[Path, str]
    differences: dict[str, Difference]
    drawn: str

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names, numbered if they are equal."""
        names = tuple(model.identity.name for model in self.models)
        return names if len(set(names)) == len(names) else tuple(f"{name}-{i}" for i, name in enumerate(names, 1))

    @property
    def reference(self) -> np.ndarray:
        """The recordings' labels as indices into `labels`."""
        return self.data.reference(self.labels)

    def measures(self, model: Answers, rows: np.ndarray | None = None) -> Measures:
        """Measures of one model on all or some of the recordings."""
        rows = np.arange(len(self.data)) if rows is None else rows
        return measure(self.reference[rows], model.probabilities[rows], model.uncertain[rows], self.labels)

    def groups(self) -> dict[str, np.ndarray]:
        """Rows of each group, the largest group first."""
        if self.group is None:
            return {}
        values = np.array([recording.columns[self.group] or "(empty)" for recording in self.data.recordings])
        names, counts = np.unique(values, return_counts=True)
        return {str(names[i]): np.flatnonzero(values == names[i]) for i in np.argsort(-counts, kind="stable")}


# As text and Markdown


def summary(findings: Findings) -> str:
    """The tables, readable in a terminal and as Markdown."""
    parts = [f"{len(findings.data)} recordings, {len(findings.data.labels)} labels\n", _models_table(findings)]
    parts += [_classes_table(findings, *named) for named in zip(findings.names, findings.models, strict=True)]
    parts += [_curve_table(findings), _groups_table(findings), _comparison(findings), _remarks(findings)]
    return "\n".join(part for part in parts if part)


def _models_table(findings: Findings) -> str:
    measures = [findings.measures(model) for model in findings.models]
    rows: list[list[object]] = [
        ["top-1", *(f"{m.top1:.3f}" for m in measures)],
        ["top-5", *(number(m.top5) for m in measures)],
        ["macro-F1", *(f"{m.macro_f1:.3f}" for m in measures)],
        ["calibration error (ECE)", *(f"{m.ece:.3f}" for m in measures)],
        [
            "ECE of a calibrated model by chance",
            *(f"{m.ece_by_chance:.3f}, to {m.ece_by_chance_high:.3f}" for m in measures),
        ],
        ["log loss (nats)", *(f"{m.log_loss:.3f}" for m in measures)],
        ["answers without the flag uncertain", *(f"{m.coverage:.1%}" for m in measures)],
        ["accuracy of these", *("-" if m.precision is None else f"{m.precision:.1%}" for m in measures)],
    ]
    versions = (model.identity.version for model in findings.models)
    return _table(["", *map(" ".join, zip(findings.names, versions, strict=True))], rows)


def _classes_table(findings: Findings, name: str, model: Answers) -> str:
    classes = findings.measures(model).classes
    rows = [
        [c.label, c.support, number(c.precision), number(c.recall), number(c.f1)]
        for c in classes
        if c.support or c.precision is not None
    ]
    return _table([f"label ({name})", "recordings", "precision", "recall", "F1"], rows)


def _curve_table(findings: Findings) -> str:
    curves = [model.curve(findings.reference) for model in findings.models]
    if not any(curves):
        return ""
    counts = {s: len(np.unique(rows)) for s, (_, rows) in findings.models[0].by_seconds.items()}
    rows = [[f"{s:g}", counts[s], *(f"{curve[s]:.3f}" for curve in curves)] for s in curves[0]]
    return _table(["seconds", "recordings", *(f"top-1, {name}" for name in findings.names)], rows)


def _groups_table(findings: Findings) -> str:
    rows = []
    for name, members in findings.groups().items():
        measures = [findings.measures(model, members) for model in findings.models]
        cells = [cell for m in measures for cell in (f"{m.top1:.3f}", f"{m.macro_f1:.3f}")]
        rows.append([name, len(members), *cells])
    head = [f"{measure}, {name}" for name in findings.names for measure in SCORES.values()]
    return _table([str(findings.group), "recordings", *head], rows) if rows else ""


def _comparison(findings: Findings) -> str:
    if not findings.differences:
        return ""
    rows = [
        [SCORES[name], f"{d.first:.3f}", f"{d.second:.3f}", f"{d.difference:+.3f}", f"{d.low:+.3f} to {d.high:+.3f}"]
        for name, d in findings.differences.items()
    ]
    clear = [SCORES[name] for name, d in findings.differences.items() if d.is_clear]
    verdict = (
        f"The two differ in {' and '.join(clear)}: the interval excludes zero."
        if clear
        else "These recordings show no difference: the intervals contain zero."
    )
    n_units = int(findings.data.units.max()) + 1
    return (
        _table(["", *findings.names, "difference", "95 % interval"], rows)
        + f"\nPaired bootstrap over {n_units} {findings.drawn}. {verdict}"
        + " With so few, the interval is rough." * (n_units < FEW_UNITS)
        + "\n"
    )


def _remarks(findings: Findings) -> str:
    lines = [f"* {note}" for note in findings.data.notes]
    if findings.refused:
        lines.append(f"* {len(findings.refused)} recordings could not be used:")
        lines += [f"    * {path}: {why}" for path, why in list(findings.refused.items())[:SHOWN_REFUSALS]]
        if (more := len(findings.refused) - SHOWN_REFUSALS) > 0:
            lines.append(f"    * and {more} more, in report.json")
    return "\n".join(lines) + "\n" if lines else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return markdown.table(head, rows, aligned=True)


def number(value: float | None) -> str:
    """Three decimal places, or a dash for None."""
    return "-" if value is None else f"{value:.3f}"


# Into a folder


def write(findings: Findings, directory: Path) -> None:
    """Write ``report.md`` with its pictures, ``report.json`` and ``answers.csv``.

    Raises
    ------
    PackageMissing
        matplotlib is not installed.
    """
    pictures = _draw(findings, directory)
    shown = "\n".join(f"![{name}]({file})\n" for name, file in pictures.items())
    page = f"# Evaluation on {findings.source}\n\n{summary(findings)}\n{shown}"
    (directory / "report.md").write_text(page, encoding="utf-8")
    (directory / "report.json").write_text(
        json.dumps(as_json(findings), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    _write_answers(findings, directory / "answers.csv")


def as_json(findings: Findings) -> dict[str, Any]:
    """All results as JSON."""
    groups = findings.groups()
    return {
        "data": findings.source,
        "recordings": len(findings.data),
        "labels": list(findings.labels),
        "notes": list(findings.data.notes),
        "refused": {str(path): why for path, why in findings.refused.items()},
        "models": [
            {
                "asked_for": model.name,
                "name": model.identity.name,
                "version": model.identity.version,
                "sha256": model.identity.sha256,
                **findings.measures(model).as_json(),
                "top1_by_seconds": {f"{s:g}": round(v, 4) for s, v in model.curve(findings.reference).items()},
                "by_group": {name: findings.measures(model, rows).as_json() for name, rows in groups.items()},
            }
            for model in findings.models
        ],
        "group": findings.group,
        "bootstrap_draws": findings.drawn,
        "differences": {name: difference.as_json() for name, difference in findings.differences.items()},
    }


def drawing() -> ModuleType:
    """The module that draws the figures.

    Raises
    ------
    PackageMissing
        matplotlib is not installed.
    """
    with of_extra("train-tools", "figures need the package matplotlib", "omit --out"):
        # imported late: optional, and slow to import
        from ccmusic.scoring import figures
    return figures


def _draw(findings: Findings, directory: Path) -> dict[str, str]:
    figures = drawing()
    directory.mkdir(parents=True, exist_ok=True)
    by_name = dict(zip(findings.names, findings.models, strict=True))
    out = {}
    for name, model in by_name.items():
        file = "confusion.png" if len(by_name) == 1 else f"confusion-{name}.png"
        figures.confusion(findings.reference, model.probabilities, directory / file, findings.labels)
        out[f"Confusion, {name}"] = file
    probabilities = {name: model.probabilities for name, model in by_name.items()}
    figures.reliabilities(findings.reference, probabilities, directory / "reliability.png")
    out["Reliability"] = "reliability.png"
    curves = {name: curve for name, model in by_name.items() if (curve := model.curve(findings.reference))}
    if curves:
        figures.curves(curves, directory / "lengths.png")
        out["Length"] = "lengths.png"
    return out


def _write_answers(findings: Findings, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        fields = ("estimated", "probability", "uncertain")
        writer.writerow(
            ["path", "label", "artist", *(f"{field}_{name}" for name in findings.names for field in fields)]
        )
        for row, recording in enumerate(findings.data.recordings):
            cells: list[object] = []
            for model in findings.models:
                best = int(model.probabilities[row].argmax())
                cells += [findings.labels[best], round(float(model.probabilities[row, best]), 4)]
                cells.append(bool(model.uncertain[row]))
            writer.writerow([recording.path, recording.label, recording.artist or "", *cells])
