"""Non-music detection: recognises near-silence, noise, tones, clicks and speech by the constant-Q spectrogram.

A network that was trained on music alone names a genre for any sound. Every rule here was measured on real music;
docs/odd-inputs.md has the share of music that each rule wrongly flags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccmusic.features.cqt import FRAMES_PER_SECOND
from ccmusic.models.non_music_limits import NonMusicLimits

MIN_SECONDS = 2.0
"""Shorter recordings are not judged: a single note is a tone, and may be music."""
SPEECH_WEIGHTS = np.array([3.14, 2.29, -4.26, 0.57])
SPEECH_INTERCEPT = -33.2
_PIECES = 3
_PIECE_FRAMES = 860
"""Of a long recording, three pieces of twenty seconds are measured."""
_FLOOR_DB = -80.0
_LOUD_DB = -40.0
"""Frames above this level, relative to the loudest frame, are measured."""


@dataclass(frozen=True, slots=True)
class SoundTraits:
    """Ten numbers that separate music from other sounds.

    Attributes
    ----------
    sounding : float
        Share of the frames that are less than 40 dB below the loudest.
    width, widest, mean_width : float
        Number of bins over which the power of a frame is spread (exponential of its entropy): the median of the frames,
        their 90th percentile, and that of the mean frame.
    roughness : float
        Roughness of the mean spectrum in dB: the median of its absolute second differences over the bins.
    contrast : float
        Standard deviation of a bin in dB, after subtracting the bin's mean and the frame's mean.
    persistence : float
        Autocorrelation of the same values after 0.09 s or 0.23 s, the larger one, above 250 Hz: 0 for noise.
    steadiness : float
        Mean difference between neighbouring bins divided by that between neighbouring frames: high for sustained notes,
        low for strokes.
    gaps : float
        Share of the frames that are more than 25 dB below the loudest.
    wandering : float
        Mean movement of the spectrum's centre from frame to frame, in bins.
    """

    sounding: float
    width: float
    widest: float
    mean_width: float
    roughness: float
    contrast: float
    persistence: float
    steadiness: float
    gaps: float
    wandering: float


def measure_traits(cqt_db: np.ndarray) -> SoundTraits:
    """Measure a recording.

    Parameters
    ----------
    cqt_db : np.ndarray [shape=(84, frames), dtype=float32]
        From `ccmusic.features.cqt.cqt_db`.

    Returns
    -------
    SoundTraits
    """
    levels_db = np.maximum(_measured_part(cqt_db), _FLOOR_DB)
    power = 10.0 ** (levels_db / 10.0)
    frame_power = power.sum(axis=0)
    frame_db = 10.0 * np.log10(frame_power / frame_power.max())
    loud = frame_db > _LOUD_DB
    shares = power[:, loud] / frame_power[loud]
    widths = np.exp(_entropy(shares))
    loud_db = levels_db[:, loud]
    contrast, persistence = _movement(loud_db)
    shallow = np.maximum(loud_db[12:], -60.0)
    strokes = float(np.abs(np.diff(shallow, axis=1)).mean()) if shallow.shape[1] > 1 else 0.0
    centres = np.arange(len(shares)) @ shares
    return SoundTraits(
        sounding=float(loud.mean()),
        width=float(np.median(widths)),
        widest=float(np.percentile(widths, 90)),
        mean_width=float(np.exp(_entropy(shares.mean(axis=1)))),
        roughness=_roughness(loud_db.mean(axis=1)),
        contrast=contrast,
        persistence=persistence,
        steadiness=float(np.abs(np.diff(shallow, axis=0)).mean()) / max(strokes, 1e-3),
        gaps=float((frame_db < -25.0).mean()),
        wandering=float(np.abs(np.diff(centres)).mean()) if len(centres) > 1 else 0.0,
    )


def detect_non_music(cqt_db: np.ndarray, limits: NonMusicLimits) -> str | None:
    """Detect that a recording is not music.

    Parameters
    ----------
    cqt_db : np.ndarray [shape=(84, frames), dtype=float32]
        Of the whole recording.
    limits : NonMusicLimits

    Returns
    -------
    str or None
        A key of `ccmusic.models.non_music_limits.OUT_OF_REACH`; None if the recording may be music or is too short.
    """
    found = measure_if_long_enough(cqt_db)
    return None if found is None else non_music_kind(found, limits)


def measure_if_long_enough(cqt_db: np.ndarray) -> SoundTraits | None:
    """`traits`, or None for a recording that is too short to judge."""
    return measure_traits(cqt_db) if cqt_db.shape[1] >= MIN_SECONDS * FRAMES_PER_SECOND else None


def non_music_kind(traits: SoundTraits, limits: NonMusicLimits) -> str | None:
    """The kind of the first rule that applies, or None."""
    is_tone = (
        traits.width < limits.tone_width
        or traits.widest < limits.tone_widest
        or traits.mean_width < limits.tone_mean_width
        or (traits.width < limits.tone_gaps_width and traits.gaps > limits.tone_gaps)
        or (traits.contrast < limits.tone_contrast and traits.steadiness > limits.tone_steadiness)
    )
    is_noise = traits.width > limits.noise_width or (
        traits.contrast < limits.noise_contrast
        and traits.roughness < limits.noise_roughness
        and abs(traits.persistence) < limits.noise_persistence
    )
    rules = {
        "empty": traits.sounding < limits.empty_sounding,
        "tone": is_tone,
        "pulses": traits.steadiness < limits.pulses_steadiness or traits.sounding < limits.pulses_sounding,
        "noise": is_noise,
        "speech": speech_score(traits) > limits.speech_score,
    }
    return next((name for name, applies in rules.items() if applies), None)


def speech_score(traits: SoundTraits) -> float:
    """Log odds of speech without music, if both were equally frequent.

    Syllables and pauses give every bin a high contrast and move the centre of the spectrum; gliding pitches make the
    mean spectrum smooth. The weights come from a logistic regression that `bench/non_music.py` fits and documents.
    """
    return float(SPEECH_WEIGHTS @ speech_numbers(traits)) + SPEECH_INTERCEPT


def speech_numbers(traits: SoundTraits) -> np.ndarray:
    """The inputs of `speech_score` [shape=(4,)]."""
    spread = traits.mean_width / max(traits.width, 1.0)
    return np.array([traits.contrast, np.log(traits.wandering + 0.1), np.log(traits.roughness + 0.1), np.log(spread)])


def _measured_part(cqt_db: np.ndarray) -> np.ndarray:
    n_frames = cqt_db.shape[1]
    if n_frames <= _PIECES * _PIECE_FRAMES:
        return cqt_db
    starts = np.linspace(0, n_frames - _PIECE_FRAMES, _PIECES).astype(int)
    return np.concatenate([cqt_db[:, start : start + _PIECE_FRAMES] for start in starts], axis=1)


def _entropy(shares: np.ndarray) -> np.ndarray:
    return np.asarray(-(shares * np.log(shares + 1e-12)).sum(axis=0))


def _roughness(mean_db: np.ndarray) -> float:
    curve = np.abs(mean_db[:-2] - 2 * mean_db[1:-1] + mean_db[2:])
    return float(np.median(curve[mean_db[1:-1] > mean_db.max() - 35.0]))


def _movement(loud_db: np.ndarray) -> tuple[float, float]:
    """Contrast and persistence."""
    high = loud_db[36:]  # above 250 Hz, where the filters are shorter than the lags
    high = high[high.mean(axis=1) > loud_db.mean(axis=1).max() - 45.0]
    if len(high) < 6 or high.shape[1] <= 40:
        return 0.0, 1.0
    own = high - high.mean(axis=1, keepdims=True)
    own -= own.mean(axis=0)
    variance = max(float((own**2).mean()), 1e-9)
    lasting = max((float((own[:, lag:] * own[:, :-lag]).mean()) / variance for lag in (4, 10)), key=abs)
    return float(np.sqrt(variance)), lasting
