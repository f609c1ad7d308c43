"""Decodes every accepted format to mono at 22,050 Hz, under limits that do not depend on a file's header.

::

    bytes or path -> format by content -> parts -> libsndfile or FFmpeg -> counted blocks -> mono -> soxr -> waveform

A recording is read in blocks, and we allocate no memory from a length in its header. So the memory is bounded by the
mono result, which `DecodeLimits.max_seconds` bounds. The libraries allocate what tables in a file declare, and a codec
can crash the process: call this in a process of its own, where the kernel bounds both (`Budget`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from ccmusic.audio.audio_file import AudioFile, open_audio
from ccmusic.audio.budget import NO_KERNEL, Budget, Kernel
from ccmusic.audio.decoders import read_part
from ccmusic.audio.identify import identify
from ccmusic.audio.limits import DecodeLimits
from ccmusic.audio.parts import Part, split
from ccmusic.audio.remarks import without_remarks
from ccmusic.audio.waveform import SAMPLE_RATE, WaveformSink
from ccmusic.errors import EmptyAudio, InvalidParameter, TooCostly, UndecodableAudio

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
    channels_cancel : bool
        The mean of the channels would have lost music, so some were inverted (`ccmusic.audio.mixing`).
    decode_seconds, resample_seconds : float
        Time taken.
    """

    waveform: np.ndarray
    duration_seconds: float
    truncated: bool
    channels_cancel: bool
    decode_seconds: float
    resample_seconds: float


def decode(
    source: bytes | os.PathLike[str],
    limits: DecodeLimits = DecodeLimits(),
    *,
    first_seconds: float | None = None,
    kernel: Kernel = NO_KERNEL,
    quiet: bool = False,
) -> Recording:
    """Decode a recording to mono at 22,050 Hz.

    Equals ``librosa.load(source)`` (mean of the channels, soxr HQ) for files that both can open, unless the mean loses
    music: see `ccmusic.audio.mixing`.

    Parameters
    ----------
    source : bytes or os.PathLike
        The content of an encoded file, or its path.
    limits : DecodeLimits
    first_seconds : float, optional
        Decode only this much from the beginning.
    kernel : Kernel, optional
        The kernel's bounds; a worker and `batch` have them.
    quiet : bool
        Discard what the libraries print to standard error meanwhile; see `without_remarks`.

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
        The format is known, but nothing can be decoded, or many samples are not finite.
    TooCostly
        Decoding takes more processor time or memory than the music needs.
    AudioTooLong
        More seconds or samples than allowed, by its header or by counting.
    InvalidParameter
        `source` is not a readable file, or `first_seconds` not positive.
    CcmusicError
        The file cannot be read to its end, because the disk or the network fails.
    """
    if first_seconds is not None and not 0 < first_seconds < math.inf:
        raise InvalidParameter("first_seconds", f"must be a positive number of seconds, and is {first_seconds:g}")
    begin = time.perf_counter()
    budget = Budget(limits, kernel)
    remarks = without_remarks() if quiet else nullcontext()
    with budget, remarks, open_audio(source, limits.max_bytes, budget) as file:
        sink = WaveformSink(limits, budget, first_seconds)
        parts, truncated = split(file, identify(file), sink.note_counted)
        truncated |= _read(file, parts, sink)
        budget.check()  # if it is spent, the file read as ended
        waveform = sink.finish()
    return Recording(
        waveform=waveform,
        duration_seconds=sink.seconds,
        truncated=truncated or bool(sink.n_unusable),
        channels_cancel=sink.channels_cancel,
        decode_seconds=time.perf_counter() - begin - sink.resample_seconds,
        resample_seconds=sink.resample_seconds,
    )


def _read(file: AudioFile, parts: Sequence[Part], sink: WaveformSink) -> bool:
    """Read the parts into `sink`; return whether something could not be read."""
    first = parts[0]
    if first.sample_rate:
        sink.refuse_declared(sum(part.n_samples / part.sample_rate for part in parts), first.sample_rate, 1)
    truncated, first_error = False, None
    for part in parts:
        try:
            truncated |= read_part(file.part(part.spans), part, sink)
        except TooCostly:
            raise
        except (UndecodableAudio, EmptyAudio) as error:
            if len(parts) == 1:
                raise
            truncated |= not isinstance(error, EmptyAudio)
            first_error = first_error or error
        if sink.full:
            return truncated
    if first_error is not None and not sink.seconds:
        raise first_error
    return truncated
