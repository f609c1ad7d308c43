"""The two decoders: libsndfile first; FFmpeg for files that libsndfile cannot open or read to the end."""

from __future__ import annotations

import numpy as np
import soundfile

from ccmusic.audio import riff
from ccmusic.audio.audio_file import AudioFile
from ccmusic.audio.budget import COSTS_MEMORY
from ccmusic.audio.declared_size import ends_before_its_size
from ccmusic.audio.ffmpeg import av, require_ffmpeg
from ccmusic.audio.formats import DAMAGED
from ccmusic.audio.layouts import HEAD_BYTES, low_frequency_channels
from ccmusic.audio.parts import DECLARED_SLACK_SECONDS, Part
from ccmusic.audio.protection import protected_tracks
from ccmusic.audio.tags import UNREAD_BYTES
from ccmusic.audio.tracks import CODECS, ordered_tracks
from ccmusic.audio.waveform import WaveformSink
from ccmusic.errors import EmptyAudio, TooCostly, UndecodableAudio

BLOCK_FRAMES = 2**15
GAPLESS_SAMPLES = 10_000  # of the delay and the padding of an MP3 encoder, which libsndfile removes, and of rounding

# Tags that are not UTF-8 must not stop the decoding. PyAV 19 (Python 3.12 and later) ignores them always and has no
# such option.
LENIENT_TAGS = {"metadata_errors": "ignore"} if av and int(av.__version__.partition(".")[0]) < 19 else {}

DISCARD_ALL = 48  # AVDISCARD_ALL
CONTAINER_OPTIONS = {
    "codec_whitelist": ",".join(sorted(CODECS)),
    "protocol_whitelist": "none",  # a file may name other files and addresses
    "max_streams": "100",
}
MOST_TRACKS = 8
"""So many tracks are tried while those before are silent: cameras write a track for each of their microphones."""

OGG_GAP_SECONDS = 0.015
"""Encoders that pause or are fed in pieces leave gaps in the times of a stream. A page that is lost holds more."""


class TryOtherDecoder(Exception):
    """libsndfile could not read the file to its end."""


class _ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """Never seeks. soundfile seeks to its own position after each block, which in MP3 is wrong by a few samples."""

    def seekable(self) -> bool:
        return False


def read_part(file: AudioFile, part: Part, sink: WaveformSink) -> bool:
    """Read a part of a recording into `sink`; return whether it ended early, or something in it could not be read.

    FFmpeg skips broken packets, so it reads again what libsndfile cannot read; the longer of the two results counts.
    """
    truncated = _read_part(file, part, sink)
    return truncated or (not sink.full and ends_before_its_size(file))


def _read_part(file: AudioFile, part: Part, sink: WaveformSink) -> bool:
    if not part.format.libsndfile:
        return read_with_ffmpeg(file, part, sink)
    begin = sink.mark()
    try:
        return read_with_libsndfile(file, part, sink)
    except TryOtherDecoder:
        sink.check_cost()
    first = sink.take_back(begin)
    if av is None and first.end != begin:
        sink.put_back(begin, first)
        return True
    try:
        truncated = read_with_ffmpeg(file, part, sink)
    except (UndecodableAudio, EmptyAudio):
        if first.end == begin:
            raise
    else:
        if sink.seconds >= first.end.seconds:
            return truncated
    sink.put_back(begin, first)
    return True


def read_with_libsndfile(file: AudioFile, part: Part, sink: WaveformSink) -> bool:
    """Read all blocks into `sink`; return whether the stream ended early."""
    head = file.peek(0, HEAD_BYTES)
    try:
        sound = _ForwardSoundFile(file)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        raise TryOtherDecoder from error
    with sound:
        # streams declare an unknown length as a huge number
        declared_frames = sound.frames if sound.frames < 2**48 else 0
        if part.n_samples and abs(declared_frames - part.n_samples) > GAPLESS_SAMPLES:
            raise TryOtherDecoder  # it guesses the length from the first frames, and would end there
        low_frequency = low_frequency_channels(head, sound.format, sound.subtype, sound.channels)
        sink.start(sound.samplerate, sound.channels, low_frequency)
        sink.refuse_declared(declared_frames / sound.samplerate, sound.samplerate, sound.channels)
        if sound.format == "OGG":
            sink.hold_to(declared_frames / sound.samplerate)
        block = np.empty((BLOCK_FRAMES, sound.channels), dtype=np.float32)
        while not sink.full:
            try:
                frames = sound.read(out=block)
            except soundfile.SoundFileError as error:
                raise TryOtherDecoder from error
            if not len(frames):
                break
            sink.write(frames)
    if sink.full:
        return False
    # libsndfile stops early if the header declares too few frames; FFmpeg reads on.
    if sink.n_frames < (part.n_samples - GAPLESS_SAMPLES if part.n_samples else 1):
        raise TryOtherDecoder
    if sound.format == "FLAC" and file.size - file.tell() > UNREAD_BYTES:
        raise TryOtherDecoder
    if part.n_samples:
        return False  # what is missing was counted
    gap = OGG_GAP_SECONDS * sound.samplerate if sound.format == "OGG" else 0
    return sink.n_frames + gap < declared_frames or riff.ends_early(file)


def read_with_ffmpeg(file: AudioFile, part: Part, sink: WaveformSink) -> bool:
    """Read the first track that is not silent into `sink`; return whether it ended early or packets were skipped."""
    require_ffmpeg()
    reader = _TrackReader(file, part, sink)
    first_error: UndecodableAudio | EmptyAudio | None = None
    decoded: int | None = None
    begin, truncated = sink.mark(), False
    for place in range(MOST_TRACKS):
        if place:
            sink.forget(begin)
        try:
            truncated = reader.read(place)
            decoded = place
        except TooCostly:
            raise
        except (UndecodableAudio, EmptyAudio) as error:
            if sink.seconds > begin.seconds:  # what was decoded is refused
                raise
            first_error = first_error or error
            sink.forget(begin)
        if place + 1 >= reader.n_tracks or sink.is_audible_since(begin):
            break
    if sink.mark() != begin:
        return truncated
    if decoded is not None:
        return reader.read(decoded)
    raise first_error or UndecodableAudio(DAMAGED)


class _TrackReader:
    """Reads one track after another of a file; each opens the file again, since packets of other tracks are dropped."""

    def __init__(self, file: AudioFile, part: Part, sink: WaveformSink) -> None:
        self._file, self._format, self._sink = file, part.format, sink
        self._protected = protected_tracks(file, part.format)
        self.n_tracks = 1

    def read(self, place: int) -> bool:
        """Read the track at this place of the order; return whether it ended early or packets were skipped."""
        self._file.seek(0)
        sink = self._sink
        begin, declared_seconds = sink.mark(), 0.0
        try:
            with av.open(
                self._file,
                mode="r",
                format=self._format.ffmpeg,
                container_options=CONTAINER_OPTIONS,
                **LENIENT_TAGS,
            ) as media:
                tracks = ordered_tracks(media, self._protected)
                self.n_tracks = len(tracks)
                stream = tracks[place]
                _discard_others(media, stream)
                declared_seconds = self._check_declared(stream)
                ended_early = _read_packets(media, stream, sink)
        except (av.FFmpegError, ValueError, RuntimeError, MemoryError, OverflowError) as error:
            if sink.seconds == begin.seconds:
                if isinstance(error, MemoryError):
                    raise TooCostly(COSTS_MEMORY) from error
                raise UndecodableAudio(DAMAGED) from error
            ended_early = True
        seconds = sink.seconds - begin.seconds
        if not seconds:
            raise (
                UndecodableAudio(DAMAGED)
                if ended_early
                else EmptyAudio("The recording has no samples; send one that plays.")
            )
        if sink.full:
            return False
        return ended_early or seconds < declared_seconds - DECLARED_SLACK_SECONDS

    def _check_declared(self, stream: av.AudioStream) -> float:
        """Refuse what the track declares to be too much; return its length in seconds, 0 if it declares none."""
        sink, codec, declared_seconds = self._sink, stream.codec_context, 0.0
        codec.thread_count = 1
        if codec.sample_rate:  # some formats state it only in their first packet
            sink.check(codec.sample_rate, codec.channels)
        if stream.duration and not self._format.guesses_length:
            declared_seconds = float(stream.duration * stream.time_base)
        sink.refuse_declared(declared_seconds, codec.sample_rate, codec.channels)
        if self._format.name == "ogg":
            sink.hold_to(declared_seconds)
        return declared_seconds


def _discard_others(media: av.container.InputContainer, stream: av.AudioStream) -> None:
    for other in media.streams:
        if other is not stream and hasattr(other, "discard"):  # older PyAV reads their packets, and drops them
            other.discard = DISCARD_ALL


def _read_packets(media: av.container.InputContainer, stream: av.AudioStream, sink: WaveformSink) -> bool:
    ended_early = False
    form = None
    for packet in media.demux(stream):
        sink.check_cost()  # packets may hold nothing, and be millions
        try:
            frames = packet.decode()
        except av.FFmpegError:
            ended_early = True
            continue
        for frame in frames:
            # From each frame, not the header: only a frame has the rate that AAC's band replication doubles, and the
            # next one may have another.
            if form != (form := (frame.format.name, frame.sample_rate, frame.layout.name)):
                low_frequency = [i for i, channel in enumerate(frame.layout.channels) if channel.name.startswith("LFE")]
                sink.start(frame.sample_rate, frame.layout.nb_channels, low_frequency)
                # Interleaved: PyAV 18 crashes with eight planes.
                to_float = av.AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate)
            frame.pts = None
            for converted in to_float.resample(frame):
                sink.write(converted.to_ndarray().reshape(-1, sink.channels))
            if sink.full:
                return False
    return ended_early
