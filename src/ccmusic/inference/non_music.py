"""Whether a recording is music at all: silence, noise, tones, clicks and speech told by their constant-Q spectrogram.

A network that was only ever shown music names a genre for anything. Every rule here was measured on real music
(docs/odd-inputs.md): each costs few recordings of it, and what they cost is stated there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccmusic.features.cqt import FRAMES_PER_SECOND
from ccmusic.models.non_music_limits import NonMusicLimits

MIN_SECONDS = 2.0
"""Shorter ones are not judged: a single note is a tone, and may well be music."""
SPEECH_WEIGHTS = np.array([3.14, 2.29, -4.26, 0.57])
SPEECH_INTERCEPT = -33.2
_PIECES = 3
_PIECE_FRAMES = 860
"""Of a long recording, three times twenty seconds are looked at."""
_FLOOR_DB = -80.0
_LOUD_DB = -40.0
"""Frames within so many decibels of the loudest are looked at."""


@dataclass(frozen=True, slots=True)
class SoundTraits:
    """What tells music from other sounds.

    Attributes
    ----------
    sounding : float
        Share of the frames that are at most 40 dB below the loudest.
    width, widest, mean_width : float
        Over how many bins the power of a frame is spread, as the exponential of its entropy: in the middle frame, in
        the widest tenth, and in the mean of all frames.
    roughness : float
        How much the mean spectrum jumps from bin to bin, dB: the median of its second differences.
    contrast : float
        How much a bin moves by itself, dB: what is left when its own mean and the mean of the frame are taken away.
    persistence : float
        How much of that is still there a tenth and a quarter of a second later, above 250 Hz: 0 for noise.
    steadiness : float
        Differences between neighbouring bins over those between neighbouring frames: notes have more, strokes less.
    gaps : float
        Share of the frames that are at most 25 dB below the loudest.
    wandering : float
        How far the centre of the spectrum moves from frame to frame, bins.
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
        Decibels below the loudest, as `ccmusic.features.cqt.cqt_db` gives them.

    Returns
    -------
    SoundTraits
    """
    levels_db = np.maximum(_looked_at(cqt_db), _FLOOR_DB)
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
    """Name what a recording is when it is no music.

    Parameters
    ----------
    cqt_db : np.ndarray [shape=(84, frames), dtype=float32]
        Of the whole recording.
    limits : NonMusicLimits

    Returns
    -------
    str or None
        One of `ccmusic.inference.result.ODDITIES`; None for what may be music, and for what is too short to tell.
    """
    found = measure_if_long_enough(cqt_db)
    return None if found is None else non_music_kind(found, limits)


def measure_if_long_enough(cqt_db: np.ndarray) -> SoundTraits | None:
    """`traits`, or None of what is too short to be judged."""
    return measure_traits(cqt_db) if cqt_db.shape[1] >= MIN_SECONDS * FRAMES_PER_SECOND else None


def non_music_kind(of: SoundTraits, limits: NonMusicLimits) -> str | None:
    """Apply the rules, the plainest first."""
    is_tone = (
        of.width < limits.tone_width
        or of.widest < limits.tone_widest
        or of.mean_width < limits.tone_mean_width
        or (of.width < limits.tone_gaps_width and of.gaps > limits.tone_gaps)
        or (of.contrast < limits.tone_contrast and of.steadiness > limits.tone_steadiness)
    )
    is_noise = of.width > limits.noise_width or (
        of.contrast < limits.noise_contrast
        and of.roughness < limits.noise_roughness
        and abs(of.persistence) < limits.noise_persistence
    )
    rules = {
        "empty": of.sounding < limits.empty_sounding,
        "tone": is_tone,
        "pulses": of.steadiness < limits.pulses_steadiness or of.sounding < limits.pulses_sounding,
        "noise": is_noise,
        "speech": speech_score(of) > limits.speech_score,
    }
    return next((name for name, applies in rules.items() if applies), None)


def speech_score(of: SoundTraits) -> float:
    """Logarithm of the odds that somebody speaks and nothing sounds with it, were speech as frequent as music.

    Syllables and pauses make every bin move much, the centre of the spectrum wander, and pitches that glide leave the
    mean spectrum smooth. The weights are a logistic regression's, fitted by `bench/oddity.py`, which says on what.
    """
    return float(SPEECH_WEIGHTS @ speech_numbers(of)) + SPEECH_INTERCEPT


def speech_numbers(of: SoundTraits) -> np.ndarray:
    """What the score weighs [shape=(4,)]."""
    spread = of.mean_width / max(of.width, 1.0)
    return np.array([of.contrast, np.log(of.wandering + 0.1), np.log(of.roughness + 0.1), np.log(spread)])


def _looked_at(cqt_db: np.ndarray) -> np.ndarray:
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
    high = loud_db[36:]  # above 250 Hz, where the filters are shorter than what is looked for
    high = high[high.mean(axis=1) > loud_db.mean(axis=1).max() - 45.0]
    if len(high) < 6 or high.shape[1] <= 40:
        return 0.0, 1.0
    own = high - high.mean(axis=1, keepdims=True)
    own -= own.mean(axis=0)
    variance = max(float((own**2).mean()), 1e-9)
    lasting = max((float((own[:, lag:] * own[:, :-lag]).mean()) / variance for lag in (4, 10)), key=abs)
    return float(np.sqrt(variance)), lasting
