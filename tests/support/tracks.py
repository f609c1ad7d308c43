"""Recordings with several tracks of sound, and with tracks that are encrypted."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
from av.stream import Disposition

RATE = 48_000
MARK = 880.0
"""Frequency of the sound of the right track, in Hz."""


def sound(frequency: float, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    """A mono tone."""
    time = np.arange(int(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def with_tracks(form: str, codecs: str, *tracks: np.ndarray, dispositions: tuple[Disposition, ...] = ()) -> bytes:
    """A file with so many mono tracks, each in its codec or all in one."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as media:
        names = codecs.split() if " " in codecs else [codecs] * len(tracks)
        streams = [media.add_stream(name, rate=RATE, layout="mono", options={"strict": "-2"}) for name in names]
        for stream, disposition in zip(streams, dispositions, strict=False):
            stream.disposition = disposition
        for stream, samples in zip(streams, tracks, strict=True):
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            fit = av.AudioResampler(stream.format.name, "mono", RATE, stream.frame_size or 1024)
            for piece in [*fit.resample(frame), *fit.resample(None)]:
                media.mux(stream.encode(piece))
            media.mux(stream.encode(None))
    return file.getvalue()


def spdif(codec: str) -> bytes:
    """The right tone in this codec, as a digital output (IEC 61937) carries it."""
    return with_tracks("spdif", codec, sound(MARK))


def frequency_of(waveform: np.ndarray, sample_rate: int) -> float:
    """The strongest frequency in Hz."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * sample_rate / len(waveform))


def asf_header(*objects: bytes) -> bytes:
    """The header of a WMA file that holds these objects, each without its size."""
    bodies = b"".join(each[:16] + struct.pack("<Q", 24 + len(each) - 16) + each[16:] for each in objects)
    identity = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
    return identity + struct.pack("<QIBB", 30 + len(bodies), len(objects), 1, 2) + bodies


def encrypted(content: bytes, track: int = 0) -> bytes:
    """An MP4 of AAC whose track is declared to be encrypted: its entry is `enca`."""
    at = -1
    for _ in range(track + 1):
        at = content.index(b"mp4a\0\0\0\0\0\0\0\1", at + 1)
    return content[:at] + b"enca" + content[at + 4 :]
