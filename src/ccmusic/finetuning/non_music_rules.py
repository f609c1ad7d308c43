"""Which rules about odd sounds hold for a model whose own recordings may be odd: speech, noise, single notes.

The rules of `ccmusic.inference.non_music` guard networks that were only shown music. Whoever trains a model on rain,
voices or drum loops has labels for just these, and an answer that is right must not be called uncertain for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ccmusic.inference.non_music import Traits, judge
from ccmusic.models.non_music_limits import NonMusicLimits

OWN_SHARE = 0.2
"""Of a label's recordings: where a rule meets so many of them, it is about what the label names. Of real music the
rules meet one recording in two hundred."""
LEAST_OWN = 2


def own_limits(
    found: Sequence[Traits | None], reference: np.ndarray, labels: tuple[str, ...], limits: NonMusicLimits
) -> tuple[NonMusicLimits, tuple[str, ...]]:
    """Take away the rules that meet the recordings of a label.

    Parameters
    ----------
    found : sequence of Traits or None
        Of the recordings that are learnt from.
    reference : np.ndarray [shape=(n,), dtype=int]
        Places of theirs in `labels`.
    labels : tuple of str
    limits : NonMusicLimits
        Of the model to start from.

    Returns
    -------
    limits : NonMusicLimits
    notes : tuple of str
        What a reader of the card should know.
    """
    can_be_judged = np.array([traits is not None for traits in found], dtype=bool)
    totals, notes = np.bincount(reference[can_be_judged], minlength=len(labels)), []
    while met := _met(found, reference, totals, limits):  # anew: what one rule no longer meets, the next may
        (label, kind), n = met
        limits = limits.without(kind)
        notes.append(
            f"{n} of {totals[label]} recordings of {labels[label]} sound like {kind}: "
            f"this model does not call {kind} odd, and no answer uncertain for it"
        )
    return limits, tuple(notes)


def _met(
    found: Sequence[Traits | None], reference: np.ndarray, totals: np.ndarray, limits: NonMusicLimits
) -> tuple[tuple[int, str], int] | None:
    """The label and kind of sound that a rule meets most often, if that is often."""
    counts = Counter(
        (int(label), kind)
        for traits, label in zip(found, reference, strict=True)
        if traits is not None and (kind := judge(traits, limits)) is not None
    )
    often = {key: n for key, n in counts.items() if n >= max(LEAST_OWN, OWN_SHARE * totals[key[0]])}
    return max(often.items(), key=lambda item: (item[1], item[0]), default=None)
