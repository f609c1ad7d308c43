"""Limits beyond which non-music detection takes a recording for something other than music."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ccmusic.models.record import Record

Positive = Annotated[float, Field(ge=0)]


class NonMusicLimits(Record):
    """Limits of the rules in `ccmusic.inference.non_music`, where each number is explained.

    The defaults were measured on real music (docs/odd-inputs.md). To turn a rule off, set a limit that cannot be
    exceeded: 0 for a rule that applies below its limit, a large number for one that applies above.
    """

    empty_sounding: Positive = 0.1
    tone_width: Positive = 3.5
    tone_widest: Positive = 6.4
    tone_mean_width: Positive = 6.5
    tone_gaps_width: Positive = 5.0
    tone_gaps: Positive = 0.3
    tone_contrast: Positive = 4.0
    tone_steadiness: Positive = 1.0
    pulses_steadiness: Positive = 0.5
    pulses_sounding: Positive = 0.6
    noise_width: Positive = 38.0
    noise_contrast: Positive = 6.3
    noise_roughness: Positive = 0.7
    noise_persistence: Positive = 0.08
    speech_score: float = 2.0

    def without(self, *kinds: str) -> NonMusicLimits:
        """The same limits, with the rules of some kinds of sound turned off."""
        return self.model_copy(update={name: value for kind in kinds for name, value in OUT_OF_REACH[kind].items()})


OUT_OF_REACH: dict[str, dict[str, float]] = {
    "empty": {"empty_sounding": 0.0},
    "tone": dict.fromkeys(("tone_width", "tone_widest", "tone_mean_width", "tone_gaps_width", "tone_contrast"), 0.0),
    "pulses": {"pulses_steadiness": 0.0, "pulses_sounding": 0.0},
    "noise": {"noise_width": 1e9, "noise_contrast": 0.0},
    "speech": {"speech_score": 1e9},
}
"""By kind of non-music: limits that turn its rules off. The keys are all kinds, in the order of the rules."""
