"""A mel-like picture computed from the constant-Q transform: the kind of input that mn04 was trained on.

A ridge regression, fitted on free music, maps the 84 semitones to the 88 mel bands of mn04 below their upper limit. The
frames are doubled to 86 a second (mn04 was trained with 100). This map is only the start: the training changes it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr
import torch
from torch import nn
from torch.nn import functional

from ccmusic.audio.decode import decode
from ccmusic.errors import AudioError
from ccmusic.features.cqt import FRAMES_PER_SECOND, SAMPLE_RATE, cqt_db

BANDS = 88
PENALTY = 10.0
OFFSET = -0.4
"""Added to every band; with this value the outputs of mn04 are closest to its outputs for the audio itself."""
MN04_RATE, MN04_HOP = 32_000, 320
SEGMENT_SECONDS, SEGMENT_STEP_SECONDS, LEAST_SECONDS = 30, 30, 5
QUIET_DB = -60.0
SHIFT_DB, UNIT_DB = 45.0, 21.7
"""The network scales its input: (dB + `SHIFT_DB`) / `UNIT_DB`."""


class MelFront(nn.Module):  # type: ignore[misc]
    """Scaled decibels [batch, 84, frames] to a mel-like picture [batch, 88, 2 * frames]."""

    def __init__(self) -> None:
        super().__init__()
        self.bands = nn.Conv1d(84, BANDS, 1)
        # linear interpolation between the frames, as a convolution: that of torch becomes a dozen operators in ONNX
        between = torch.tensor([0.25, 0.75, 0.75, 0.25]).repeat(BANDS, 1, 1)
        self.register_buffer("between", between, persistent=False)

    def forward(self, scaled_db: torch.Tensor) -> torch.Tensor:
        """Map the bins of every frame, then double the frames."""
        bands = functional.pad(self.bands(scaled_db), (1, 1), mode="replicate")
        return functional.conv_transpose1d(bands, self.between, stride=2, padding=3, groups=BANDS)

    def start_from(self, weight: np.ndarray, bias: np.ndarray) -> None:
        """Set the weights to a map from decibels, as `fit` returns it."""
        with torch.no_grad():
            self.bands.weight.copy_(torch.from_numpy(weight.T[:, :, None].astype(np.float32) * UNIT_DB))
            self.bands.bias.copy_(torch.from_numpy((bias + OFFSET - SHIFT_DB * weight.sum(axis=0)).astype(np.float32)))


def fit(audio: Path, filters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the map on recordings of free music.

    Parameters
    ----------
    audio : Path
        Directory of recordings; files that cannot be decoded and silent segments are skipped.
    filters : np.ndarray [shape=(128, 513)]
        ``mel_filters`` of ``mn04.npz``.

    Returns
    -------
    weight : np.ndarray [shape=(84, 88)]
    bias : np.ndarray [shape=(88,)]
    """
    pairs = []
    for path in sorted(p for p in audio.iterdir() if p.is_file()):
        try:
            waveform = decode(path.read_bytes()).waveform
        except AudioError:  # a directory of samples has broken ones on purpose
            continue
        for first in range(0, len(waveform) // SAMPLE_RATE - 10, SEGMENT_STEP_SECONDS):
            segment = waveform[first * SAMPLE_RATE : (first + SEGMENT_SECONDS) * SAMPLE_RATE]
            if len(segment) >= LEAST_SECONDS * SAMPLE_RATE and np.sqrt(np.mean(segment**2)) >= 0.01:
                pairs.append(_pair(segment, filters))
    # the map must not learn the level of each segment
    levels = [mel.mean() - picture.mean() / 21.7147 for picture, mel in pairs]
    pictures = np.concatenate([picture for picture, _ in pairs]).astype(np.float64)
    mels = np.concatenate([mel - (level - np.mean(levels)) for (_, mel), level in zip(pairs, levels, strict=True)])
    centre, mean = pictures.mean(axis=0), mels.mean(axis=0)
    offset = pictures - centre
    weight = np.linalg.solve(
        offset.T @ offset / len(offset) + PENALTY * np.eye(offset.shape[1]), offset.T @ (mels - mean) / len(offset)
    )
    return weight[:, :BANDS], (mean - centre @ weight)[:BANDS]


def _pair(waveform: np.ndarray, filters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every third frame that is not quiet, as semitones and as mel bands."""
    picture = cqt_db(waveform)
    mel = mn04_mel(soxr.resample(waveform.astype(np.float64), SAMPLE_RATE, MN04_RATE), filters)
    place = np.arange(picture.shape[1]) / FRAMES_PER_SECOND * MN04_RATE / MN04_HOP
    left = np.clip(place.astype(int), 0, len(mel) - 2)
    share = np.clip(place - left, 0, 1)[:, None]
    loud = picture.max(axis=0) > QUIET_DB
    return picture[:, loud].T[::3], (mel[left] * (1 - share) + mel[left + 1] * share)[loud][::3]


def mn04_mel(waveform: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Compute the mel spectrogram that mn04 was trained on, [shape=(frames, 128)].

    Parameters
    ----------
    waveform : np.ndarray [shape=(samples,)]
        At 32 kHz.
    filters : np.ndarray [shape=(128, 513)]
        ``mel_filters`` of ``mn04.npz``.
    """
    emphasised = waveform[1:] - 0.97 * waveform[:-1]
    window = np.pad(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799), (112, 112))
    padded = np.pad(emphasised, 512, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::MN04_HOP]
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return np.asarray((np.log(power @ filters.T + 1e-5) + 4.5) / 5)
