"""Decoding: every format keeps pitch and level, every limit holds, and no bytes raise anything but an AudioError."""

from __future__ import annotations

import io
import math
import os
import pickle
import struct
import tracemalloc
import warnings
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr

from ccmusic.audio.decode import SAMPLE_RATE, DecodeLimits, Recording, decode
from ccmusic.errors import (
    AudioError,
    AudioTooLong,
    EmptyAudio,
    InvalidParameter,
    UndecodableAudio,
    UnsupportedMedia,
    UploadTooLarge,
)

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
    """As a browser's MediaRecorder writes: forward only, so that no duration can be filled in at the end."""

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
) -> bytes:
    file = Unseekable() if format_name == "webm" else io.BytesIO()
    options = {"live": "1"} if format_name == "webm" else {"movflags": "faststart"} if index_first_in else {}
    with av.open(index_first_in or file, "w", format=format_name, options=options) as media:
        # FFmpeg wants to know all streams before the first packet.
        picture = media.add_stream("mpeg4", rate=10) if video else None
        sound = media.add_stream(codec, rate=sample_rate, layout="stereo") if codec else None
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
            frame = av.AudioFrame.from_ndarray(planes, format="s16" if codec == "flac" else "fltp", layout="stereo")
            frame.sample_rate = sample_rate
            frame.pts = 0
            media.mux(sound.encode(frame))
            media.mux(sound.encode(None))
    return index_first_in.read_bytes() if index_first_in else file.getvalue()


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
    """`content` with another total of samples in its STREAMINFO (36 bits)."""
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
}


@pytest.fixture(scope="module", params=ENCODED)
def encoded(request) -> tuple[str, bytes]:
    container, encode = ENCODED[request.param]
    return container, encode()


# --- what is right goes in -------------------------------------------------------------------------------------------


def test_pitch_and_level_survive(encoded):
    container, content = encoded
    recording = decode(content)
    assert_tone(recording)
    assert recording.container == container
    assert not recording.truncated
    assert recording.decode_seconds > 0
    assert recording.resample_seconds >= 0


def test_path_equals_bytes_whatever_its_name(encoded, tmp_path):
    _, content = encoded
    path = tmp_path / "录音 #1.raw"
    path.write_bytes(content)
    np.testing.assert_array_equal(decode(path).waveform, decode(content).waveform)


def test_first_seconds_is_the_beginning(encoded):
    _, content = encoded
    recording = decode(content, DecodeLimits(max_seconds=1.0), first_seconds=0.7)
    whole = decode(content)
    assert recording.duration_seconds == pytest.approx(0.7, abs=1e-3)
    assert not recording.truncated
    before_the_cut = int(0.6 * SAMPLE_RATE)
    np.testing.assert_allclose(recording.waveform[:before_the_cut], whole.waveform[:before_the_cut], atol=1e-3)


def test_blocks_leave_no_seam_in_mp3():
    content = with_soundfile("MP3", None, tone(4.0))
    in_one_piece = soundfile.read(io.BytesIO(content), dtype="float32")[0].mean(axis=1)
    resampled = soxr.resample(in_one_piece, 44_100, SAMPLE_RATE, quality="HQ")
    np.testing.assert_allclose(decode(content).waveform, resampled, atol=1e-5)


def test_first_seconds_beyond_the_end_is_the_whole():
    content = with_soundfile("WAV", None, tone(1.0))
    np.testing.assert_array_equal(decode(content, first_seconds=9.0).waveform, decode(content).waveform)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_mono_is_the_mean_of_the_channels(channels):
    samples = noise(1.0, SAMPLE_RATE, channels)
    recording = decode(with_soundfile("WAV", "FLOAT", samples, SAMPLE_RATE))
    assert recording.channels == channels
    np.testing.assert_allclose(recording.waveform, samples.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("sample_rate", [4000, 8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000])
def test_stream_of_blocks_resamples_as_one(sample_rate):
    samples = noise(3.3, sample_rate)[:, 0]
    recording = decode(with_soundfile("WAV", "FLOAT", samples, sample_rate))
    assert recording.source_sample_rate == sample_rate
    assert len(recording.waveform) == math.ceil(len(samples) * SAMPLE_RATE / sample_rate)
    whole = soxr.resample(samples, sample_rate, SAMPLE_RATE, quality="HQ")
    shared = min(len(whole), len(recording.waveform))
    np.testing.assert_allclose(recording.waveform[:shared], whole[:shared], atol=1e-5)


@pytest.mark.parametrize("n_frames", [1, 2, 100, 2**15 - 1, 2**15, 2**15 + 1])
def test_lengths_around_a_block(n_frames):
    recording = decode(with_soundfile("WAV", None, tone()[:n_frames]))
    assert len(recording.waveform) == math.ceil(n_frames / 2)


def test_float_files_may_exceed_full_scale():
    recording = decode(with_soundfile("WAV", "FLOAT", 40 * tone()))
    assert np.abs(recording.waveform).max() == pytest.approx(20.0, rel=0.01)


def test_recording_travels_between_processes():
    recording = decode(with_soundfile("WAV", None, tone(0.5)))
    copy = pickle.loads(pickle.dumps(recording))
    np.testing.assert_array_equal(copy.waveform, recording.waveform)
    assert copy.container == "wav"


def test_waveform_can_be_written_to():
    decode(with_soundfile("WAV", None, tone(0.5))).waveform[0] = 1.0


@pytest.mark.parametrize("name", ["wav-16", "flac", "ogg-vorbis", "mp3", "aiff"])
def test_equals_librosa(name):
    content = ENCODED[name][1]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa's imports warn of other packages' deprecations
        librosa = pytest.importorskip("librosa")
        reference, _ = librosa.load(io.BytesIO(content), sr=SAMPLE_RATE)
    recording = decode(content)
    assert len(recording.waveform) == len(reference)
    np.testing.assert_allclose(recording.waveform, reference, atol=1e-5)


# --- what is too much is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_path", [False, True])
def test_too_many_bytes(tmp_path, as_path):
    content = with_soundfile("WAV", None, tone(1.0))
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    source = path if as_path else content
    assert decode(source, DecodeLimits(max_bytes=len(content))).channels == 2
    with pytest.raises(UploadTooLarge, match=f"{len(content):,} bytes"):
        decode(source, DecodeLimits(max_bytes=len(content) - 1))


def test_too_long_in_every_format(encoded):
    _, content = encoded
    with pytest.raises(AudioTooLong, match="1 s"):
        decode(content, DecodeLimits(max_seconds=1.0))


@pytest.mark.parametrize("sample_rate", [1, 3999, 192_001, 2_000_000_000])
def test_sample_rate_outside_the_limits(sample_rate):
    content = wav_header(sample_rate, 1, 2_000_000) + bytes(2_000_000)
    assert_refused_in_little_memory(content, UnsupportedMedia, f"{sample_rate:,} Hz", 2**20)


@pytest.mark.parametrize("channels", [9, 255, 1024])
def test_more_channels_than_allowed(channels):
    content = wav_header(44_100, channels, 2_000_000) + bytes(2_000_000)
    assert_refused_in_little_memory(content, UnsupportedMedia, f"{channels:,} channels", 2**20)


def assert_refused_in_little_memory(content: bytes, error: type[AudioError], match: str, max_memory: int, **limits):
    tracemalloc.start()
    try:
        with pytest.raises(error, match=match):
            decode(content, DecodeLimits(**limits))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < max_memory


@pytest.fixture(scope="module")
def silence_bomb() -> bytes:
    """Half a minute of silence at 192 kHz in 8 channels: 47 KB for 184 MB of float32."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 192_000, 8, format="FLAC", subtype="PCM_16") as sound:
        for _ in range(30):
            sound.write(np.zeros((192_000, 8), dtype=np.int16))
    return file.getvalue()


def test_bomb_that_admits_its_length(silence_bomb):
    assert_refused_in_little_memory(silence_bomb, AudioTooLong, "10 s", 2**20, max_seconds=10.0)


@pytest.mark.parametrize("declared_frames", [0, 1, 192_000])
def test_bomb_that_denies_its_length(silence_bomb, declared_frames):
    content = with_flac_total(silence_bomb + noise_frames_behind(), declared_frames)
    assert_refused_in_little_memory(content, AudioTooLong, "10 s", 8 * 2**20, max_seconds=10.0)


def noise_frames_behind() -> bytes:
    return bytes(2**17)  # so that much of the file is unread where the header ends it


def test_bomb_within_the_limit_takes_no_more_than_its_mono_result(silence_bomb):
    tracemalloc.start()
    try:
        recording = decode(silence_bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert recording.duration_seconds == 30.0
    assert peak < 1.3 * recording.waveform.nbytes + 6 * 2**20


# --- what lies or is broken ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared_seconds", [0, 0.01, 2.0, 5.0, 9.0])
def test_forged_flac_length_does_not_change_what_is_decoded(declared_seconds):
    content = with_soundfile("FLAC", None, noise(5.0))
    recording = decode(with_flac_total(content, int(declared_seconds * 44_100)))
    assert recording.duration_seconds == 5.0
    assert recording.truncated == (declared_seconds > 5.0)


@pytest.mark.parametrize("data_bytes", [0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFF0])
def test_wav_written_to_a_pipe(data_bytes):
    samples = (tone(1.0, channels=1)[:, 0] * 32767).astype("<i2")
    recording = decode(wav_header(44_100, 1, data_bytes) + samples.tobytes())
    assert recording.duration_seconds == 1.0
    assert not recording.truncated


BROKEN_OFF = {
    "wav": (lambda: with_soundfile("WAV", "PCM_16", noise(4.0)), True),
    "rf64": (lambda: with_soundfile("RF64", "PCM_16", noise(4.0)), False),
    "aiff": (lambda: with_soundfile("AIFF", "PCM_16", noise(4.0)), True),
    "flac": (lambda: with_soundfile("FLAC", "PCM_16", noise(4.0)), True),
    "ogg-vorbis": (lambda: with_soundfile("OGG", "VORBIS", noise(4.0)), True),
    "ogg-opus": (lambda: with_soundfile("OGG", "OPUS", noise(4.0, 48_000), 48_000), True),
    "aac-adts": (lambda: with_ffmpeg("adts", "aac", noise(4.0, 48_000, 2)), False),
    "webm-opus": (lambda: with_ffmpeg("webm", "libopus", noise(4.0, 48_000, 2)), False),
}
"""How to encode, and whether the format tells that something is missing."""


@pytest.mark.parametrize("name", BROKEN_OFF)
def test_broken_off_stream_gives_what_is_there(name):
    encode, tells = BROKEN_OFF[name]
    content = encode()
    assert not decode(content).truncated
    recording = decode(content[: int(len(content) * 0.6)])
    assert 1.5 < recording.duration_seconds < 3.0
    if tells:
        assert recording.truncated


def test_mp3_with_a_declared_length_that_broke_off():
    content = with_soundfile("MP3", None, noise(4.0))
    assert b"Xing" in content[:4096] or b"Info" in content[:4096]  # LAME's header with the number of frames
    recording = decode(content[: len(content) // 2])
    assert recording.truncated
    assert 1.5 < recording.duration_seconds < 2.5


def test_broken_middle_is_left_out():
    content = bytearray(with_soundfile("FLAC", None, noise(4.0)))
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    recording = decode(bytes(content))
    assert recording.duration_seconds > 3.0
    assert np.abs(recording.waveform[-SAMPLE_RATE:]).max() > 0.1


def test_broken_packets_are_left_out_and_told():
    content = bytearray(with_ffmpeg("adts", "aac", noise(4.0, 48_000, 2)))
    middle = len(content) // 2
    content[middle : middle + 3000] = noise(1.0).tobytes()[:3000]
    recording = decode(bytes(content))
    assert recording.truncated
    assert 3.0 < recording.duration_seconds < 4.1


def test_m4a_that_broke_off_behind_its_index(tmp_path):
    content = with_ffmpeg("mp4", "aac", noise(4.0, 48_000, 2), index_first_in=tmp_path / "a.mp4")
    recording = decode(content[: int(len(content) * 0.6)])
    assert recording.truncated
    assert 1.5 < recording.duration_seconds < 3.0


def test_m4a_without_its_index_is_undecodable():
    content = with_ffmpeg("ipod", "aac", tone(sample_rate=48_000))
    with pytest.raises(UndecodableAudio, match="damaged"):
        decode(content[: content.index(b"moov") - 4])


def test_video_without_sound():
    with pytest.raises(UnsupportedMedia, match="no audio"):
        decode(with_ffmpeg("mp4", "", tone(), video=True))


@pytest.mark.parametrize("bad_value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_that_are_no_numbers(bad_value, channels):
    samples = tone(1.0, channels=channels)
    samples[20_000] = bad_value
    with pytest.raises(UndecodableAudio, match="finite"):
        decode(with_soundfile("WAV", "FLOAT", samples))


@pytest.mark.parametrize("source", [b"", with_soundfile("WAV", None, np.zeros((0, 2)))])
def test_nothing_in_it(source):
    with pytest.raises(EmptyAudio):
        decode(source)


@pytest.mark.parametrize(
    "content",
    [
        b"Not music, but a letter.\n" * 40,
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        b"%PDF-1.7\n" + bytes(500),
        b"PK\x03\x04" + bytes(500),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n",
        b"RIFF\x24\0\0\0AVI LIST" + bytes(500),
        bytes(1000),
        b"\0",
        b"R",
    ],
)
def test_unknown_formats(content):
    with pytest.raises(UnsupportedMedia, match="WAV, FLAC"):
        decode(content)


@pytest.mark.parametrize(
    "magic", [b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf1", b"\0\0\0\x20ftyp"]
)
def test_only_the_first_bytes_are_right(magic):
    with pytest.raises((UndecodableAudio, EmptyAudio)):
        decode(magic + noise(0.1).tobytes()[:3000])


def test_mutated_files_raise_audio_errors_only():
    rng = np.random.default_rng(2026)
    short = tone(0.4, 48_000)
    originals = [
        with_soundfile("WAV", "PCM_16", short, 48_000),
        with_soundfile("WAV", "FLOAT", short, 48_000),
        with_soundfile("FLAC", None, short, 48_000),
        with_soundfile("OGG", "VORBIS", short, 48_000),
        with_soundfile("OGG", "OPUS", short, 48_000),
        with_soundfile("MP3", None, short, 48_000),
        with_soundfile("AIFF", None, short, 48_000),
        with_ffmpeg("ipod", "aac", short),
        with_ffmpeg("adts", "aac", short),
        with_ffmpeg("webm", "libopus", short),
    ]
    outcomes = {"decoded": 0, "refused": 0}
    for index in range(400):
        content = mutated(originals[index % len(originals)], rng)
        try:
            recording = decode(content, DecodeLimits(max_seconds=60.0))
        except AudioError as error:
            outcomes["refused"] += 1
            assert str(error).endswith(".")
        else:
            outcomes["decoded"] += 1
            assert np.isfinite(recording.waveform).all()
            assert 0 < recording.duration_seconds <= 60.0
    assert min(outcomes.values()) > 20


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, mostly in the header; sometimes a piece cut out or the end cut off."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 12)):
        reach = len(changed) if rng.random() < 0.3 else min(200, len(changed))
        changed[rng.integers(reach)] = rng.integers(256)
    if rng.random() < 0.3:
        begin = int(rng.integers(len(changed)))
        del changed[begin : begin + int(rng.integers(1, 400))]
    if rng.random() < 0.3:
        del changed[int(rng.integers(1, len(changed) + 1)) :]
    return bytes(changed)


@pytest.mark.parametrize("source", ["missing.wav", "."])
def test_no_file_there(tmp_path, source):
    with pytest.raises(InvalidParameter, match="source is not a file"):
        decode(tmp_path / source)


@pytest.mark.parametrize("first_seconds", [0.0, -1.0, math.nan, math.inf])
def test_first_seconds_must_be_positive(first_seconds):
    with pytest.raises(InvalidParameter, match="first_seconds"):
        decode(with_soundfile("WAV", None, tone(0.5)), first_seconds=first_seconds)


def test_messages_name_no_path(tmp_path):
    path = tmp_path / "secret-name.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + bytes(100))
    with pytest.raises(AudioError) as caught:
        decode(path)
    assert "secret-name" not in str(caught.value)


# --- recordings, where there are some --------------------------------------------------------------------------------


def test_real_recordings():
    folder = os.environ.get("CCMUSIC_TEST_AUDIO")
    if not folder:
        pytest.skip("CCMUSIC_TEST_AUDIO names no folder of recordings")
    decoded = 0
    for path in sorted(Path(folder).iterdir()):
        try:
            recording = decode(path)
        except UnsupportedMedia:  # a README, say
            continue
        decoded += 1
        assert not recording.truncated
        assert 0.01 < np.abs(recording.waveform).max() < 2.0
    assert decoded
