"""What an answer of a worker must be, so that nothing in the front process fails on it."""

from __future__ import annotations

import numpy as np

from ccmusic.genres import Taxonomy
from ccmusic.inference.result import FLAGS, STAGES, TrackResult


class MalformedMessage(Exception):
    """A message is not what its reader expects; the text says why."""


def require(condition: bool, what: str) -> None:
    """Raise `MalformedMessage` with this text unless the condition is true."""
    if not condition:
        raise MalformedMessage(what)


def check_answer(answer: TrackResult) -> None:
    """Refuse an answer whose parts do not agree with each other.

    Raises
    ------
    MalformedMessage
    """
    n_windows = len(answer.windows)
    require(n_windows > 0, "an answer has no window")
    _check_levels(answer.taxonomy, answer.probabilities)
    n_labels = len(answer.taxonomy.labels)
    require(all(window.probabilities.shape == (n_labels,) for window in answer.windows), "a window has other labels")
    require(set(answer.flags) <= set(FLAGS), "a flag is unknown")
    require(set(answer.timings) <= set(STAGES), "a stage is unknown")
    require(answer.sure_level in (None, 0, *answer.taxonomy.sizes), "a level is unknown")
    require(answer.spectrogram_db is None or _is_image(answer.spectrogram_db), "a spectrogram is no image")
    for head in answer.heads:
        _check_levels(head.taxonomy, head.probabilities)
        require(_is(head.windows, (n_windows, len(head.taxonomy.labels))), "a head has other windows")
        require(set(head.flags) <= set(FLAGS), "a flag is unknown")
    for explanation in answer.explanations:
        require(0 <= explanation.window < n_windows, "an explained window is missing")
        require(explanation.without.ndim == 2 and explanation.without.size > 0, "an explanation has no parts")
        require(explanation.without.dtype == np.float64, "an explanation has no parts")
        require(_is_image(explanation.spectrogram_db), "a spectrogram is no image")


def _check_levels(taxonomy: Taxonomy, probabilities: dict[int, np.ndarray]) -> None:
    require(set(probabilities) == set(taxonomy.sizes), "an answer has other levels")
    require(all(_is(row, (level,)) for level, row in probabilities.items()), "a level has other groups")


def _is(array: np.ndarray, shape: tuple[int, ...]) -> bool:
    return array.shape == shape and array.dtype == np.float64


def _is_image(array: np.ndarray) -> bool:
    return array.ndim == 2 and array.dtype == np.uint8
