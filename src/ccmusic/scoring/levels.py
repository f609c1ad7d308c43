"""The classification measures at each level of the ccMusic taxonomy: 16 genres (leaves), 9 groups and 2 groups.

Probabilities of the groups are sums over their leaves (`ccmusic.genres.roll_up`).
"""

from __future__ import annotations

import numpy as np

from ccmusic.genres import LABELS, roll_up
from ccmusic.scoring.calibration import expected_calibration_error
from ccmusic.scoring.classification import macro_f1, top_k_accuracy


def group_of_leaf(level: int) -> np.ndarray:
    """Number of each leaf's group at a level, [shape=(16,)]."""
    return np.asarray(roll_up(np.eye(len(LABELS)), level).argmax(axis=1))


def level_accuracy(reference: np.ndarray, probabilities: np.ndarray, level: int) -> float:
    """Top-1 accuracy at a level, of leaves [shape=(clips,)] against their probabilities [shape=(clips, 16)]."""
    return top_k_accuracy(group_of_leaf(level)[reference], roll_up(probabilities, level))


def scores_by_level(reference: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Measure accuracy, F1 and calibration at every level.

    Parameters
    ----------
    reference : np.ndarray [shape=(clips,), dtype=int]
        Leaves.
    probabilities : np.ndarray [shape=(clips, 16)]

    Returns
    -------
    dict of str to float
        ``top1_16``, ``top5_16``, ``macro_f1_16``, ``ece_16`` and the same with 9 and 2 (top-5 at 16 and 9 only).
    """
    out: dict[str, float] = {}
    for level in (16, 9, 2):
        groups, rolled = group_of_leaf(level)[reference], roll_up(probabilities, level)
        out[f"top1_{level}"] = top_k_accuracy(groups, rolled)
        if level > 2:
            out[f"top5_{level}"] = top_k_accuracy(groups, rolled, 5)
        out[f"macro_f1_{level}"] = macro_f1(groups, rolled)
        out[f"ece_{level}"] = expected_calibration_error(groups, rolled)
    return out
