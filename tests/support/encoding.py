"""Recordings encoded into every format, and files with false headers."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from ccmusic.audio.decode import SAMPLE_RATE, Recording

FREQUENCY = 440.0
AMPLITUDE = 0.5


def tone(seconds: float = 2.0, sample_rate: int = 44_100, channels: int = 2) -> np.ndarray:
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    return np.tile(AMPLITUDE * np.sin(2 * np.pi * FREQUENCY * time)[:, np.newaxis], channels).astype(np.float32)


def noise(seconds: float, sample_rate: int = 44_100, channels: int = 1) -> np.ndarray:
    bits = np.random.PCG64(7).random_raw(int(seconds * sample_rate) * channels)
    return (bits / 2.0**64 - 0.5).astype(np.float32).reshape(-1, channels)


def with_soundfile(format_name: str, subtype: str | None, samples: np.ndarray, sample_rate: int = 44_100) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=format_name, subtype=subtype)
    return file.getvalue()


class Unseekable(io.BytesIO):
    """A file that can only be appended to, as in a browser's MediaRecorder: the header gets no duration."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation


def with_ffmpeg(
    format_name: str,
    codec: str,
    samples: np.ndarray,
    sample_rate: int = 48_000,
    *,
    video: bool = False,
    index_first_in: Path | None = None,
    title: str = "",
    movflags: str = "",
    layout: str = "stereo",
) -> bytes:
    file = Unseekable() if format_name == "webm" else io.BytesIO()
    movflags = "faststart" if index_first_in else movflags
    options = {"live": "1"} if format_name == "webm" else {"movflags": movflags} if movflags else {}
    with av.open(index_first_in or file, "w", format=format_name, options=options) as media:
        if title:
            media.metadata["title"] = title
        # FFmpeg needs all streams before the first packet.
        picture = media.add_stream("mpeg4", rate=10) if video else None
        sound = media.add_stream(codec, rate=sample_rate, layout=layout) if codec else None
        if codec == "wmav2":
            sound.bit_rate = 128_000
        if picture:
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
            for index in range(10):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), index * 20, np.uint8), format="rgb24")
                frame.pts = index
                media.mux(picture.encode(frame))
            media.mux(picture.encode(None))
        if sound:
            planes = np.ascontiguousarray(samples.T)
            if codec == "flac":
                planes = (samples * 32767).astype(np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(planes, format="s16" if codec == "flac" else "fltp", layout=layout)
            frame.sample_rate = sample_rate
            frame.pts = 0
            media.mux(sound.encode(frame))
            media.mux(sound.encode(None))
    return index_first_in.read_bytes() if index_first_in else file.getvalue()


FRAGMENTS = "empty_moov+frag_keyframe+default_base_moof"
UUID_BOX = struct.pack(">I", 40) + b"uuid" + bytes(32)


def segment(content: bytes) -> bytes:
    """An MP4 that begins with `styp` in place of `ftyp`, as the segments of a stream do."""
    length = int.from_bytes(content[:4], "big")
    return struct.pack(">I", 24) + b"stypmsdh\0\0\0\0msdhmsix" + content[length:]


STORED = Path(__file__).parents[1] / "data" / "encoded"


def stored(name: str) -> bytes:
    """A tone by an encoder that neither libsndfile nor PyAV has: Debian's FFmpeg (DTS) and mpcenc (Musepack)."""
    return (STORED / name).read_bytes()


def silent_ape(n_samples: int) -> bytes:
    """Monkey's Audio 3.99 of one frame that says that both channels are silent; nothing here encodes more."""
    frame = struct.pack("<IIQ", 1 << 31, 3, 0)
    about = struct.pack("<HHIIIHHI", 1000, 0, n_samples, n_samples, 1, 16, 2, 44_100)
    descriptor = struct.pack("<4sHHIIIIIII16x", b"MAC ", 3990, 0, 52, len(about), 4, 0, len(frame), 0, 0)
    return descriptor + about + struct.pack("<I", len(descriptor) + len(about) + 4) + frame


DSD_BLOCK_BYTES = 4096


def dsf(samples: np.ndarray, sample_rate: int = 44_100) -> bytes:
    """Mono samples as DSD at 64 times their rate: a bit is 1 where the sum so far reaches another whole number."""
    oversampled = np.repeat(samples.astype(np.float64), 64)
    sums = np.floor(np.cumsum((1 + oversampled) / 2))
    bits = np.diff(sums, prepend=0.0).astype(np.uint8)
    content = np.packbits(bits[: len(bits) // 8 * 8], bitorder="little").tobytes()
    content += bytes(-len(content) % DSD_BLOCK_BYTES)
    about = struct.pack("<QIIIIIIQII", 52, 1, 0, 1, 1, 64 * sample_rate, 1, len(bits), DSD_BLOCK_BYTES, 0)
    head = struct.pack("<QQQ", 28, 92 + len(content), 0)
    return b"DSD " + head + b"fmt " + about + b"data" + struct.pack("<Q", 12 + len(content)) + content


def wav_header(sample_rate: int, channels: int, data_bytes: int, bits: int = 16) -> bytes:
    frame_bytes = channels * bits // 8
    byte_rate = min(sample_rate * frame_bytes, 2**32 - 1)
    fmt = struct.pack("<HHIIHH", 1, channels, sample_rate, byte_rate, frame_bytes, bits)
    return (
        b"RIFF"
        + struct.pack("<I", 36)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + fmt
        + b"data"
        + struct.pack("<I", data_bytes)
    )


def with_flac_total(content: bytes, total: int) -> bytes:
    """`content` with another number of samples in its STREAMINFO (36 bits)."""
    forged = bytearray(content)
    word = int.from_bytes(forged[18:26], "big")
    forged[18:26] = (word >> 36 << 36 | total).to_bytes(8, "big")
    return bytes(forged)


def assert_tone(recording: Recording, seconds: float = 2.0) -> None:
    assert recording.waveform.dtype == np.float32
    assert recording.waveform.ndim == 1
    assert len(recording.waveform) == math.ceil(recording.duration_seconds * SAMPLE_RATE - 1e-6)
    assert recording.duration_seconds == pytest.approx(seconds, abs=0.1)
    middle = recording.waveform[SAMPLE_RATE // 2 : SAMPLE_RATE // 2 + SAMPLE_RATE // 2].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * SAMPLE_RATE / len(middle) == pytest.approx(FREQUENCY, abs=2.0)
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(AMPLITUDE, rel=0.03)


ENCODED = {
    "wav-16": ("wav", lambda: with_soundfile("WAV", "PCM_16", tone())),
    "wav-24": ("wav", lambda: with_soundfile("WAV", "PCM_24", tone())),
    "wav-8": ("wav", lambda: with_soundfile("WAV", "PCM_U8", tone())),
    "wav-float": ("wav", lambda: with_soundfile("WAV", "FLOAT", tone())),
    "wav-double": ("wav", lambda: with_soundfile("WAVEX", "DOUBLE", tone())),
    "wav-adpcm": ("wav", lambda: with_soundfile("WAV", "IMA_ADPCM", tone())),
    "rf64": ("wav", lambda: with_soundfile("RF64", "PCM_16", tone())),
    "flac": ("flac", lambda: with_soundfile("FLAC", "PCM_16", tone())),
    "ogg-vorbis": ("ogg", lambda: with_soundfile("OGG", "VORBIS", tone())),
    "ogg-opus": ("ogg", lambda: with_soundfile("OGG", "OPUS", tone(sample_rate=48_000), 48_000)),
    "mp3": ("mp3", lambda: with_soundfile("MP3", None, tone())),
    "mp3-mono-22050": ("mp3", lambda: with_soundfile("MP3", None, tone(2.0, 22_050, 1), 22_050)),
    "mp3-with-id3": ("mp3", lambda: b"ID3\x04\0\0\0\0\x10\0" + bytes(2048) + with_soundfile("MP3", None, tone())),
    "aiff": ("aiff", lambda: with_soundfile("AIFF", "PCM_16", tone())),
    "m4a": ("mp4", lambda: with_ffmpeg("ipod", "aac", tone(sample_rate=48_000))),
    "mp4-with-video": ("mp4", lambda: with_ffmpeg("mp4", "aac", tone(sample_rate=48_000), video=True)),
    "aac-adts": ("aac", lambda: with_ffmpeg("adts", "aac", tone(sample_rate=48_000))),
    "webm-opus-streamed": ("webm", lambda: with_ffmpeg("webm", "libopus", tone(sample_rate=48_000))),
    "ogg-flac": ("ogg", lambda: with_ffmpeg("ogg", "flac", tone(sample_rate=48_000))),
    "bw64": ("bw64", lambda: b"BW64" + with_soundfile("RF64", "PCM_16", tone())[4:]),
    "w64": ("w64", lambda: with_soundfile("W64", "PCM_16", tone())),
    "caf": ("caf", lambda: with_soundfile("CAF", "PCM_16", tone())),
    "caf-alac": ("caf", lambda: with_soundfile("CAF", "ALAC_16", tone())),
    "au": ("au", lambda: with_soundfile("AU", "PCM_16", tone())),
    "wma": ("wma", lambda: with_ffmpeg("asf", "wmav2", tone(sample_rate=48_000))),
    "wavpack": ("wavpack", lambda: with_ffmpeg("wv", "wavpack", tone(sample_rate=48_000))),
    "tta": ("tta", lambda: with_ffmpeg("tta", "tta", tone(sample_rate=48_000))),
    "ac3": ("ac3", lambda: with_ffmpeg("ac3", "ac3", tone(sample_rate=48_000))),
    "eac3": ("eac3", lambda: with_ffmpeg("eac3", "eac3", tone(sample_rate=48_000))),
    "latm": ("latm", lambda: with_ffmpeg("latm", "aac", tone(sample_rate=48_000))),
    "dsf": ("dsf", lambda: dsf(tone(channels=1)[:, 0])),
    "mpegts": ("mpegts", lambda: with_ffmpeg("mpegts", "aac", tone(sample_rate=48_000), video=True)),
    "mpegps": ("mpegps", lambda: with_ffmpeg("mpeg", "mp2", tone(sample_rate=48_000))),
    "avi": ("avi", lambda: with_ffmpeg("avi", "ac3", tone(sample_rate=48_000), video=True)),
    "flv": ("flv", lambda: with_ffmpeg("flv", "aac", tone(sample_rate=48_000))),
    "mkv-ac3-with-video": ("webm", lambda: with_ffmpeg("matroska", "ac3", tone(sample_rate=48_000), video=True)),
    "mp4-segment": ("mp4", lambda: segment(with_ffmpeg("mp4", "aac", tone(sample_rate=48_000), movflags=FRAGMENTS))),
    "mp4-uuid-first": ("mp4", lambda: UUID_BOX + with_ffmpeg("mp4", "aac", tone(sample_rate=48_000))),
}
