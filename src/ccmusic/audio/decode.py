"""Decodes every accepted format to mono at 22,050 Hz, under limits that do not depend on a file's header.

::

    bytes or path -> container by first bytes -> libsndfile or FFmpeg -> mono blocks -> counted -> soxr -> waveform

A recording is read in blocks, and we allocate no memory from a length in its header. So the memory is bounded by the
mono result, which `DecodeLimits.max_seconds` bounds. The libraries allocate what tables in a file declare, and a codec
can crash the process: call this in a worker, where the kernel bounds both (`Budget`).
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass

import numpy as np

from ccmusic.audio.budget import NO_KERNEL, Budget, Kernel
from ccmusic.audio.containers import open_audio, sniff
from ccmusic.audio.decoders import TryOtherDecoder, read_again, read_with_ffmpeg, read_with_libsndfile
from ccmusic.audio.limits import DecodeLimits
from ccmusic.audio.waveform import SAMPLE_RATE, WaveformSink
from ccmusic.errors import InvalidParameter

__all__ = ["SAMPLE_RATE", "DecodeLimits", "Recording", "decode"]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A decoded recording.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        Mono at 22,050 Hz; full scale is 1.0, which float files may exceed.
    duration_seconds : float
        Length of the decoded part.
    truncated : bool
        The stream ended early, had broken parts, or was shorter than its header declares.
    decode_seconds, resample_seconds : float
        Time taken.
    """

    waveform: np.ndarray
    duration_seconds: float
    truncated: bool
    decode_seconds: float
    resample_seconds: float


def decode(
    source: bytes | os.PathLike[str],
    limits: DecodeLimits = DecodeLimits(),
    *,
    first_seconds: float | None = None,
    kernel: Kernel = NO_KERNEL,
) -> Recording:
    """Decode a recording to mono at 22,050 Hz.

    Equals ``librosa.load(source)`` (mean of the channels, soxr HQ) for files that both can open.

    Parameters
    ----------
    source : bytes or os.PathLike
        The content of an encoded file, or its path.
    limits : DecodeLimits
    first_seconds : float, optional
        Decode only this much from the beginning.
    kernel : Kernel, optional
        The kernel's bounds; a worker has them.

    Returns
    -------
    Recording

    Raises
    ------
    UploadTooLarge
        More bytes than allowed.
    EmptyAudio
        No bytes, or no samples.
    UnsupportedMedia
        The format is unknown, has no audio, or has channels or a sample rate outside the limits.
    UndecodableAudio
        The format is known, but nothing can be decoded, or samples are not finite.
    TooCostly
        Decoding takes more processor time or memory than the music needs.
    AudioTooLong
        More seconds or samples than allowed, by its header or by counting.
    InvalidParameter
        `source` is not a readable file, or `first_seconds` not positive.
    """
    if first_seconds is not None and not 0 < first_seconds < math.inf:
        raise InvalidParameter("first_seconds", f"must be a positive number of seconds, and is {first_seconds:g}")
    begin = time.perf_counter()
    budget = Budget(limits, kernel)
    with budget, open_audio(source, limits.max_bytes, budget) as file:
        container = sniff(file)
        sink = WaveformSink(limits, budget, first_seconds)
        try:
            if container.libsndfile:
                truncated = read_with_libsndfile(file, sink)
            else:
                truncated = read_with_ffmpeg(file, sink, container)
        except TryOtherDecoder:
            budget.check()
            sink, truncated = read_again(file, sink, container, WaveformSink(limits, budget, first_seconds))
        budget.check()  # if it is spent, the file read as ended
        waveform = sink.finish()
    return Recording(
        waveform=waveform,
        duration_seconds=sink.n_frames / sink.sample_rate,
        truncated=truncated,
        decode_seconds=time.perf_counter() - begin - sink.resample_seconds,
        resample_seconds=sink.resample_seconds,
    )
