"""Bytes to waveform: every accepted format to mono at 22,050 Hz, with limits that a file's header cannot talk away.

::

    bytes, path -> sniffed by first bytes -> libsndfile or FFmpeg -> mono blocks -> counted -> soxr -> waveform

A recording is read block by block and never allocated from what its header says, so memory is bounded by the mono
result, and that by `DecodeLimits.max_seconds`. A broken codec can still crash the process: call this in a worker.
"""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np
import soundfile
import soxr

from ccmusic.errors import (
    AudioTooLong,
    EmptyAudio,
    InvalidParameter,
    UndecodableAudio,
    UnsupportedMedia,
    UploadTooLarge,
)

__all__ = ["SAMPLE_RATE", "DecodeLimits", "Recording", "decode"]

SAMPLE_RATE = 22050
BLOCK_FRAMES = 2**15
LARGEST_SAMPLE = 1e10  # beyond it float32 overflows when squared; no integer-scaled float WAV reaches it
UNREAD_BYTES = 2**16  # tags at a file's end are smaller
DECLARED_SLACK_SECONDS = 0.5  # encoder delay and padding, which declared lengths include or not

ACCEPTED = "WAV, FLAC, OGG, Opus, MP3, AIFF, M4A, AAC and WebM are accepted"
BROKEN = "The recording is damaged and cannot be decoded; export it again, for example as WAV or MP3."
UNKNOWN_FORMAT = f"The format of this file is not known; {ACCEPTED}."


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What a recording may be at most; anything beyond is refused before it takes memory.

    Parameters
    ----------
    max_bytes : int
        Size of the encoded file.
    max_channels : int
    min_sample_rate, max_sample_rate : int
        In Hz; the lower one bounds how far resampling can blow a file up.
    max_seconds : float
        Counted while decoding.
    """

    max_bytes: int = 64 * 2**20
    max_channels: int = 8
    min_sample_rate: int = 4000
    max_sample_rate: int = 192_000
    max_seconds: float = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A decoded recording.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        Mono at 22,050 Hz; full scale is 1.0, which float files may exceed.
    duration_seconds : float
        Of what was decoded.
    truncated : bool
        The stream broke off, had broken parts, or was shorter than its header declares.
    container : str
        ``wav``, ``flac``, ``ogg``, ``mp3``, ``aiff``, ``mp4``, ``aac`` or ``webm``.
    source_sample_rate : int
        In Hz.
    channels : int
        Of the source.
    decode_seconds, resample_seconds : float
        Time taken.
    """

    waveform: np.ndarray
    duration_seconds: float
    truncated: bool
    container: str
    source_sample_rate: int
    channels: int
    decode_seconds: float
    resample_seconds: float


def decode(
    source: bytes | os.PathLike[str],
    limits: DecodeLimits = DecodeLimits(),
    *,
    first_seconds: float | None = None,
) -> Recording:
    """Decode a recording to mono at 22,050 Hz.

    Equals ``librosa.load(source)`` (mean of the channels, soxr HQ) for what both can open.

    Parameters
    ----------
    source : bytes or os.PathLike
        The encoded file, or where it is.
    limits : DecodeLimits
    first_seconds : float, optional
        Decode no more than this.

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
        No known format, no audio in it, or channels or sample rate outside the limits.
    UndecodableAudio
        A known format, but nothing of it can be decoded, or its samples are not finite.
    AudioTooLong
        More seconds than allowed, as declared or as counted.
    InvalidParameter
        `source` is not a readable file, or `first_seconds` not positive.
    """
    if first_seconds is not None and not 0 < first_seconds < math.inf:
        raise InvalidParameter("first_seconds", f"must be a positive number of seconds, and is {first_seconds:g}")
    begin = time.perf_counter()
    with _open(source, limits.max_bytes) as file:
        container = _sniff(file)
        sink = _Sink(limits, first_seconds)
        try:
            if container.libsndfile:
                truncated = _read_with_libsndfile(file, sink)
            else:
                truncated = _read_with_ffmpeg(file, sink, container)
        except _OtherDecoderMayDoBetter:
            sink, truncated = _read_again(file, sink, container, _Sink(limits, first_seconds))
    waveform = sink.finish()
    return Recording(
        waveform=waveform,
        duration_seconds=sink.n_frames / sink.sample_rate,
        truncated=truncated,
        container=container.name,
        source_sample_rate=sink.sample_rate,
        channels=sink.channels,
        decode_seconds=time.perf_counter() - begin - sink.resample_seconds,
        resample_seconds=sink.resample_seconds,
    )


class _OtherDecoderMayDoBetter(Exception):
    """libsndfile could not read the file, or not to its end."""


# --- the bytes -------------------------------------------------------------------------------------------------------


class _File:
    """A binary file whose `seek` stays inside it: broken headers send decoders to impossible places."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.size = raw.seek(0, os.SEEK_END)
        raw.seek(0)
        self.read = raw.read
        self.tell = raw.tell

    def readinto(self, buffer: memoryview) -> int:
        count: int = self._raw.readinto(buffer)  # type: ignore[attr-defined]
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_CUR: self._raw.tell(), os.SEEK_END: self.size}.get(whence, 0)
        return self._raw.seek(min(max(0, origin + offset), self.size))

    def peek(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`, or what there is of them; leaves the file at its beginning."""
        self.seek(offset)
        content = self._raw.read(count)
        self.seek(0)
        return content


@contextmanager
def _open(source: bytes | os.PathLike[str], max_bytes: int) -> Iterator[_File]:
    raw: BinaryIO
    if isinstance(source, bytes | bytearray | memoryview):
        raw = io.BytesIO(source)
    else:
        path = Path(source)
        if not path.is_file():  # not for pipes and devices, which have no end
            raise InvalidParameter("source", "is not a file; give the path of a recording")
        try:
            raw = path.open("rb")
        except OSError as error:
            raise InvalidParameter("source", f"cannot be read: {error.strerror}") from error
    with raw:
        file = _File(raw)
        if not file.size:
            raise EmptyAudio("The file is empty; send a recording.")
        if file.size > max_bytes:
            raise UploadTooLarge(
                f"The recording has {file.size:,} bytes, and at most {max_bytes:,} are accepted; send a shorter or "
                "compressed version."
            )
        yield file


class _Container(NamedTuple):
    name: str
    ffmpeg_format: str  # named to FFmpeg, so that it tries no other, playlists and the like among them
    libsndfile: bool  # opened by libsndfile first


WAV = _Container("wav", "wav", True)
AIFF = _Container("aiff", "aiff", True)
FLAC = _Container("flac", "flac", True)
OGG = _Container("ogg", "ogg", True)
MP3 = _Container("mp3", "mp3", True)
AAC = _Container("aac", "aac", False)
MP4 = _Container("mp4", "mov", False)
WEBM = _Container("webm", "matroska", False)
MP4_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def _sniff(file: _File) -> _Container:
    """Tell the container by its first bytes; names and declared media types are not asked."""
    head = file.peek(0, 16)
    if head.startswith(b"ID3") and len(head) >= 10:
        tag_size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        after_tag = file.peek(10 + tag_size, 16)
        return _sniff_audio(after_tag) or MP3  # junk between the tag and the first frame is common in MP3
    container = _sniff_audio(head)
    if container is None:
        raise UnsupportedMedia(UNKNOWN_FORMAT)
    return container


def _sniff_audio(head: bytes) -> _Container | None:
    container = None
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        container = WAV
    elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        container = AIFF
    elif head[:4] == b"fLaC":
        container = FLAC
    elif head[:4] == b"OggS":
        container = OGG
    elif head[:4] == b"\x1a\x45\xdf\xa3":
        container = WEBM
    elif head[4:8] in MP4_FIRST_BOXES:
        container = MP4
    elif len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # The two bits of the layer are 0 in AAC's frames (ADTS) and never in MPEG audio's.
        container = MP3 if head[1] & 0x06 else AAC
    return container


# --- the two decoders ------------------------------------------------------------------------------------------------


class _ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """Never seeks. After each block soundfile seeks to where it is, and in MP3 that lands a few samples off."""

    def seekable(self) -> bool:
        return False


def _read_with_libsndfile(file: _File, sink: _Sink) -> bool:
    """Read all blocks into `sink`; returns whether the stream broke off."""
    try:
        sound = _ForwardSoundFile(file)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        raise _OtherDecoderMayDoBetter from error
    with sound:
        sink.start(sound.samplerate, sound.channels)
        declared_frames = sound.frames if sound.frames < 2**48 else 0  # streams declare "unknown" as a huge number
        sink.refuse_declared(declared_frames / sound.samplerate)
        block = np.empty((BLOCK_FRAMES, sound.channels), dtype=np.float32)
        while not sink.full:
            try:
                frames = sound.read(out=block)
            except soundfile.SoundFileError as error:
                raise _OtherDecoderMayDoBetter from error
            if not len(frames):
                break
            sink.write(frames)
    if sink.full:
        return False
    # Before its end, a header that declared too little has stopped libsndfile; FFmpeg reads on.
    if not sink.n_frames or (sound.format in ("FLAC", "MP3") and file.size - file.tell() > UNREAD_BYTES):
        raise _OtherDecoderMayDoBetter
    slack = DECLARED_SLACK_SECONDS * sink.sample_rate if sound.format == "MP3" else 0
    return sink.n_frames < declared_frames - slack or _ends_early(file)


def _ends_early(file: _File) -> bool:
    """Whether a WAV, AIFF or OGG file lacks bytes that it declares; libsndfile quietly reads what is there."""
    head = file.peek(0, 12)
    if head[:4] == b"OggS":
        tail = file.peek(file.size - 2 * 2**16, 2 * 2**16)  # the largest page has 65,307 bytes
        page = tail[tail.rfind(b"OggS") :]
        is_last = len(page) > 5 and bool(page[5] & 0x04)
        return not is_last
    if head[:4] in (b"RIFF", b"FORM"):
        byte_order = "little" if head[:4] == b"RIFF" else "big"
        offset = 12
        for _ in range(64):  # more chunks than files have, fewer than a hostile one could
            chunk = file.peek(offset, 8)
            if len(chunk) < 8:
                return False
            length = int.from_bytes(chunk[4:], byte_order)  # type: ignore[arg-type]
            if chunk[:4] in (b"data", b"SSND"):
                written_by_a_stream = length in (0, 0x7FFFFFFF, 0xFFFFFFFF) or length >= 0xFFFFF000
                return not written_by_a_stream and offset + 8 + length > file.size
            offset += 8 + length + length % 2
    return False


def _read_again(file: _File, first: _Sink, container: _Container, second: _Sink) -> tuple[_Sink, bool]:
    """Read with FFmpeg, which leaves broken packets out, what libsndfile gave up; keep what holds more."""
    try:
        truncated = _read_with_ffmpeg(file, second, container)
    except (UndecodableAudio, EmptyAudio):
        if not first.n_frames:
            raise
    else:
        if second.n_frames >= first.n_frames:
            return second, truncated
    return first, True


def _read_with_ffmpeg(file: _File, sink: _Sink, container: _Container) -> bool:
    """Read all blocks into `sink`; returns whether the stream broke off or packets had to be left out."""
    file.seek(0)
    try:
        with av.open(file, mode="r", format=container.ffmpeg_format, metadata_errors="ignore") as media:
            if not media.streams.audio:
                raise UnsupportedMedia(f"This file holds no audio; {ACCEPTED}.")
            stream = media.streams.audio[0]
            if stream.codec_context is None:
                raise UnsupportedMedia(f"The codec in this file is not known; {ACCEPTED}.")
            stream.codec_context.thread_count = 1
            if stream.codec_context.sample_rate:  # some formats tell only in their first packet
                sink.check(stream.codec_context.sample_rate, stream.codec_context.channels)
            declared_seconds = float(stream.duration * stream.time_base) if stream.duration else 0.0
            sink.refuse_declared(declared_seconds)
            broke_off = _read_packets(media, stream, sink)
    except (av.FFmpegError, ValueError, RuntimeError, MemoryError, OverflowError) as error:
        if not sink.n_frames:
            raise UndecodableAudio(BROKEN) from error
        broke_off = True
    if not sink.n_frames:
        raise (
            UndecodableAudio(BROKEN) if broke_off else EmptyAudio("The recording has no samples; send one that plays.")
        )
    if sink.full:
        return False
    return broke_off or sink.n_frames < (declared_seconds - DECLARED_SLACK_SECONDS) * sink.sample_rate


def _read_packets(media: av.container.InputContainer, stream: av.AudioStream, sink: _Sink) -> bool:
    broke_off = False
    to_float = None
    for packet in media.demux(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            broke_off = True
            continue
        for frame in frames:
            if to_float is None:
                # From the first frame, not the header: AAC's spectral band replication doubles the rate only there.
                sink.start(frame.sample_rate, frame.layout.nb_channels)
                # Interleaved: with eight planes, PyAV 18 counts nine and crashes.
                to_float = av.AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate)
                first_format = (frame.format.name, frame.sample_rate, frame.layout.name)
            elif (frame.format.name, frame.sample_rate, frame.layout.name) != first_format:
                return True  # a second recording glued on, or noise that looks like a frame
            frame.pts = None
            for converted in to_float.resample(frame):
                sink.write(converted.to_ndarray().reshape(-1, sink.channels))
            if sink.full:
                return False
    return broke_off


# --- the waveform ----------------------------------------------------------------------------------------------------


class _Sink:
    """Takes blocks as they are decoded: refuses, mixes, counts, resamples, collects."""

    def __init__(self, limits: DecodeLimits, first_seconds: float | None) -> None:
        self._limits = limits
        self._first_seconds = first_seconds
        self._samples = bytearray()  # grows in place, where a list of blocks would be copied into one at the end
        self._resampler: soxr.ResampleStream | None = None
        self._mix = np.ones(1, dtype=np.float32)
        self.sample_rate = 0
        self.channels = 0
        self.n_frames = 0
        self.full = False
        self.resample_seconds = 0.0

    def check(self, sample_rate: int, channels: int) -> None:
        limits = self._limits
        if not 1 <= channels <= limits.max_channels:
            raise UnsupportedMedia(
                f"The recording declares {channels:,} channels, and 1 to {limits.max_channels} are accepted; send a "
                "stereo or mono version."
            )
        if not limits.min_sample_rate <= sample_rate <= limits.max_sample_rate:
            raise UnsupportedMedia(
                f"The recording declares a sample rate of {sample_rate:,} Hz, and {limits.min_sample_rate:,} to "
                f"{limits.max_sample_rate:,} Hz are accepted; send a version at 44,100 Hz."
            )

    def start(self, sample_rate: int, channels: int) -> None:
        self.check(sample_rate, channels)
        self.sample_rate, self.channels = sample_rate, channels
        self._mix = np.full(channels, 1 / channels, dtype=np.float32)
        if sample_rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def refuse_declared(self, seconds: float) -> None:
        """Spare the decoding of what says itself that it is too long; what lies about it is counted."""
        if self._first_seconds is None and seconds > self._limits.max_seconds:
            raise self._too_long()

    def write(self, block: np.ndarray) -> None:
        """Add one block [frames, channels]."""
        with np.errstate(invalid="ignore", over="ignore"):  # told below, in a sentence
            # A product with equal weights: np.mean along the short axis takes ten times as long.
            mono = block @ self._mix
        if not (mono.max() < LARGEST_SAMPLE and mono.min() > -LARGEST_SAMPLE):  # false for NaN, too
            raise UndecodableAudio("The recording holds samples that are no finite numbers; export it again.")
        if self._first_seconds is not None:
            wanted = math.ceil(self._first_seconds * self.sample_rate)
            mono = mono[: wanted - self.n_frames]
            self.full = self.n_frames + len(mono) >= wanted
        self.n_frames += len(mono)
        if self.n_frames > self._limits.max_seconds * self.sample_rate:
            raise self._too_long()
        self._collect(mono, last=False)

    def finish(self) -> np.ndarray:
        """The waveform [n] at 22,050 Hz, n = ceil(seconds * 22,050) as librosa has it."""
        self._collect(np.empty(0, dtype=np.float32), last=True)
        n_samples = math.ceil(self.n_frames * SAMPLE_RATE / self.sample_rate)
        missing = n_samples * 4 - len(self._samples)
        if missing > 0:
            self._samples += bytes(missing)
        return np.frombuffer(self._samples, dtype=np.float32)[:n_samples]

    def _collect(self, mono: np.ndarray, *, last: bool) -> None:
        if self._resampler is not None:
            begin = time.perf_counter()
            mono = self._resampler.resample_chunk(mono, last=last)
            self.resample_seconds += time.perf_counter() - begin
        self._samples += np.ascontiguousarray(mono).data.cast("B")

    def _too_long(self) -> AudioTooLong:
        return AudioTooLong(
            f"The recording is longer than the {self._limits.max_seconds:,.0f} s that are accepted; send an excerpt."
        )
