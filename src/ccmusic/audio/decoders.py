"""The two decoders: libsndfile first, FFmpeg for what it cannot open or not read to the end."""

from __future__ import annotations

import av
import numpy as np
import soundfile

from ccmusic.audio.containers import ACCEPTED, AudioFile, Container, ends_early
from ccmusic.audio.waveform import WaveformSink
from ccmusic.errors import EmptyAudio, UndecodableAudio, UnsupportedMedia

BLOCK_FRAMES = 2**15
UNREAD_BYTES = 2**16  # tags at a file's end are smaller
DECLARED_SLACK_SECONDS = 0.5  # encoder delay and padding, which declared lengths include or not

# Tags in another encoding than UTF-8 are no reason to refuse the sound. PyAV 19, which Python 3.12 and later get, never
# does, and knows the option no more.
LENIENT_TAGS = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}

BROKEN = "The recording is damaged and cannot be decoded; export it again, for example as WAV or MP3."


class OtherDecoderMayDoBetter(Exception):
    """libsndfile could not read the file, or not to its end."""


class _ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """Never seeks. After each block soundfile seeks to where it is, and in MP3 that lands a few samples off."""

    def seekable(self) -> bool:
        return False


def read_with_libsndfile(file: AudioFile, sink: WaveformSink) -> bool:
    """Read all blocks into `sink`; returns whether the stream broke off."""
    try:
        sound = _ForwardSoundFile(file)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        raise OtherDecoderMayDoBetter from error
    with sound:
        sink.start(sound.samplerate, sound.channels)
        declared_frames = sound.frames if sound.frames < 2**48 else 0  # streams declare "unknown" as a huge number
        sink.refuse_declared(declared_frames / sound.samplerate)
        block = np.empty((BLOCK_FRAMES, sound.channels), dtype=np.float32)
        while not sink.full:
            try:
                frames = sound.read(out=block)
            except soundfile.SoundFileError as error:
                raise OtherDecoderMayDoBetter from error
            if not len(frames):
                break
            sink.write(frames)
    if sink.full:
        return False
    # Before its end, a header that declared too little has stopped libsndfile; FFmpeg reads on.
    if not sink.n_frames or (sound.format in ("FLAC", "MP3") and file.size - file.tell() > UNREAD_BYTES):
        raise OtherDecoderMayDoBetter
    slack = DECLARED_SLACK_SECONDS * sink.sample_rate if sound.format == "MP3" else 0
    return sink.n_frames < declared_frames - slack or ends_early(file)


def read_again(
    file: AudioFile, first: WaveformSink, container: Container, second: WaveformSink
) -> tuple[WaveformSink, bool]:
    """Read with FFmpeg, which leaves broken packets out, what libsndfile gave up; keep what holds more."""
    try:
        truncated = read_with_ffmpeg(file, second, container)
    except (UndecodableAudio, EmptyAudio):
        if not first.n_frames:
            raise
    else:
        if second.n_frames >= first.n_frames:
            return second, truncated
    return first, True


def read_with_ffmpeg(file: AudioFile, sink: WaveformSink, container: Container) -> bool:
    """Read all blocks into `sink`; returns whether the stream broke off or packets had to be left out."""
    file.seek(0)
    try:
        with av.open(file, mode="r", format=container.ffmpeg_format, **LENIENT_TAGS) as media:
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


def _read_packets(media: av.container.InputContainer, stream: av.AudioStream, sink: WaveformSink) -> bool:
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
