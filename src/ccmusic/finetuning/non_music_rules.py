"""Chooses the non-music rules for a model whose own labels may be speech, noise or single notes.

The rules of `ccmusic.inference.non_music` protect networks that were trained on music only. A model trained on rain,
voices or drum loops has labels for exactly these sounds, and a right answer must not be flagged as uncertain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ccmusic.inference.non_music import SoundTraits, non_music_kind
from ccmusic.models.non_music_limits import NonMusicLimits

OWN_SHARE = 0.2
"""A rule that matches at least this share of a label's recordings is dropped: it describes the label. Of real music the
rules match one recording in two hundred."""
LEAST_OWN = 2


def limits_for_labels(
    found: Sequence[SoundTraits | None], reference: np.ndarray, labels: tuple[str, ...], limits: NonMusicLimits
) -> tuple[NonMusicLimits, tuple[str, ...]]:
    """Drop the rules that match the recordings of a label.

    Parameters
    ----------
    found : sequence of SoundTraits or None
        Of the training recordings.
    reference : np.ndarray [shape=(n,), dtype=int]
        Indices into `labels`.
    labels : tuple of str
    limits : NonMusicLimits
        Of the base model.

    Returns
    -------
    limits : NonMusicLimits
    notes : tuple of str
        What a reader of the card should know.
    """
    can_be_judged = np.array([traits is not None for traits in found], dtype=bool)
    totals, notes = np.bincount(reference[can_be_judged], minlength=len(labels)), []
    while met := _most_frequent_match(found, reference, totals, limits):  # again: the next rule may match now
        (label, kind), n = met
        limits = limits.without(kind)
        notes.append(
            f"{n} of {totals[label]} recordings of {labels[label]} sound like {kind}: "
            f"this model does not flag {kind} as odd, nor its answers as uncertain"
        )
    return limits, tuple(notes)


def _most_frequent_match(
    found: Sequence[SoundTraits | None], reference: np.ndarray, totals: np.ndarray, limits: NonMusicLimits
) -> tuple[tuple[int, str], int] | None:
    """The label and kind that a rule matches most often; None when no rule matches often."""
    counts = Counter(
        (int(label), kind)
        for traits, label in zip(found, reference, strict=True)
        if traits is not None and (kind := non_music_kind(traits, limits)) is not None
    )
    often = {key: n for key, n in counts.items() if n >= max(LEAST_OWN, OWN_SHARE * totals[key[0]])}
    return max(often.items(), key=lambda item: (item[1], item[0]), default=None)
