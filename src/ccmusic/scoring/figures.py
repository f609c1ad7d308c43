"""The figures of docs/evaluation.md and of the reports of ``ccmusic evaluate``; needs matplotlib."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ccmusic.genres import LABELS
from ccmusic.scoring.calibration import BINS, reliability_curve
from ccmusic.scoring.classification import confusion_matrix

LEVEL_COLOURS = {16: "#1f4e79", 9: "#2e8b57", 2: "#b5651d"}
HAN_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
    "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Arial Unicode MS",
)  # fmt: skip
"""Fonts with Chinese characters, which matplotlib's own fonts lack: labels may be Chinese."""
_installed = {font.name for font in font_manager.fontManager.ttflist}
mpl.rcParams.update({
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "font.family": ["DejaVu Sans", *(name for name in HAN_FONTS if name in _installed)],
})  # fmt: skip
logger = logging.getLogger(__name__)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # without the software version, so that equal data give equal bytes
        figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    if any("missing from font" in str(warning.message) for warning in caught):
        logger.warning("%s: no installed font has all characters of the labels: install %s", path, HAN_FONTS[0])


def confusion(reference: np.ndarray, probabilities: np.ndarray, path: Path, labels: Sequence[str] = LABELS) -> None:
    """Draw a confusion matrix: rows are references, colours are shares of a row, numbers are clips.

    Parameters
    ----------
    reference : np.ndarray [shape=(clips,)]
    probabilities : np.ndarray [shape=(clips, labels)]
    path : Path
    labels : sequence of str
    """
    counts = confusion_matrix(reference, probabilities)
    side = min(3.0 + 0.375 * len(labels), 30.0)
    figure = Figure(figsize=(side, side - 1))
    axes = figure.add_subplot()
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        light = counts[row, column] > 0.5 * counts[row].sum()
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color="w" if light else "k")
    names = [label.replace("_", " ") for label in labels]
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), [f"{n} ({c})" for n, c in zip(names, counts.sum(axis=1), strict=True)])
    axes.set_xlabel("estimated")
    axes.set_ylabel("reference (clips)")
    _save(figure, path)


def clip_lengths(
    network: Mapping[int, Mapping[float, float]], probe: Mapping[int, Mapping[float, float]], path: Path
) -> None:
    """Draw top-1 accuracy over the length of the recording.

    Parameters
    ----------
    network, probe : mapping of int to mapping of float to float
        By level, accuracy of the network and of the probe on the teachers' outputs, by seconds of the recording.
    path : Path
    """
    figure = Figure(figsize=(6.5, 4))
    axes = figure.add_subplot()
    for level, colour in LEVEL_COLOURS.items():
        own = network[level]
        axes.plot(list(own), list(own.values()), "o-", color=colour, label=f"network, {level} genres")
        other = probe[level]
        axes.plot(list(other), list(other.values()), "s:", color=colour, mfc="w", label=f"teachers' probe, {level}")
    _over_lengths(axes, list(own))
    _save(figure, path)


def curves(by_name: Mapping[str, Mapping[float, float]], path: Path) -> None:
    """Draw the top-1 accuracy of several models over the length of the recording.

    Parameters
    ----------
    by_name : dict of str to dict of float to float
        By model, accuracy by seconds.
    path : Path
    """
    figure = Figure(figsize=(6.5, 4))
    axes = figure.add_subplot()
    for colour, (name, accuracy) in zip(LEVEL_COLOURS.values(), by_name.items(), strict=False):
        axes.plot(list(accuracy), list(accuracy.values()), "o-", color=colour, label=name)
    _over_lengths(axes, sorted({seconds for accuracy in by_name.values() for seconds in accuracy}))
    _save(figure, path)


def _over_lengths(axes: Axes, seconds: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(seconds, [f"{value:g}" for value in seconds])
    axes.minorticks_off()
    axes.set(xlabel="length of the recording (s)", ylabel="top-1 accuracy", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")


def reliability(reference: np.ndarray, before: np.ndarray, after: np.ndarray, path: Path, bins: int = BINS) -> None:
    """Draw accuracy over confidence, before and after the temperature.

    Parameters
    ----------
    reference : np.ndarray [shape=(clips,)]
    before, after : np.ndarray [shape=(clips, 16)]
    path : Path
    bins : int
    """
    reliabilities(reference, {"temperature 1": before, "calibrated (cross-fitted)": after}, path, bins)


def reliabilities(reference: np.ndarray, by_name: Mapping[str, np.ndarray], path: Path, bins: int = BINS) -> None:
    """Draw accuracy over confidence for several models, side by side.

    Parameters
    ----------
    reference : np.ndarray [shape=(clips,)]
    by_name : dict of str to np.ndarray [shape=(clips, labels)]
        Probabilities by the title of each picture.
    path : Path
    bins : int
    """
    figure = Figure(figsize=(4.25 * len(by_name), 3.8))
    for index, (title, probabilities) in enumerate(by_name.items()):
        axes = figure.add_subplot(1, len(by_name), index + 1)
        confidence, accuracy, count = reliability_curve(reference, probabilities, bins)
        axes.plot([0, 1], [0, 1], ":", color="0.6")
        axes.scatter(confidence, accuracy, s=4 * count, color=LEVEL_COLOURS[16], alpha=0.7)
        axes.set(title=title, xlabel="largest probability", xlim=(0, 1), ylim=(0, 1))
        if index == 0:
            axes.set_ylabel("share right (area: clips in the bin)")
    _save(figure, path)
