"""Limits beyond which a recording is taken for something else than music."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(ge=0)]


class NonMusicLimits(BaseModel):
    """Limits of the rules in `ccmusic.inference.non_music`, which says what each number means.

    The defaults are measured on real music, see docs/odd-inputs.md. A rule whose limit cannot be reached never applies
    (0 for those that look for less, a large number for those that look for more).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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
        """The same limits, but those of some kinds of sound out of reach: these are no longer found odd."""
        return self.model_copy(update={name: value for kind in kinds for name, value in OUT_OF_REACH[kind].items()})


OUT_OF_REACH: dict[str, dict[str, float]] = {
    "empty": {"empty_sounding": 0.0},
    "tone": dict.fromkeys(("tone_width", "tone_widest", "tone_mean_width", "tone_gaps_width", "tone_contrast"), 0.0),
    "pulses": {"pulses_steadiness": 0.0, "pulses_sounding": 0.0},
    "noise": {"noise_width": 1e9, "noise_contrast": 0.0},
    "speech": {"speech_score": 1e9},
}
"""Limits that no recording goes beyond, by what `ccmusic.inference.non_music` names the sound."""
