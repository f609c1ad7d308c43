"""Broken recordings and headers with false values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ccmusic.audio.decode import SAMPLE_RATE, DecodeLimits, decode
from ccmusic.errors import (
    AudioError,
    EmptyAudio,
    InvalidParameter,
    UndecodableAudio,
    UnsupportedMedia,
)
from support.encoding import (
    dsf,
    noise,
    tone,
    wav_header,
    with_ffmpeg,
    with_flac_total,
    with_soundfile,
)
from support.hostile_files import with_check


@pytest.mark.parametrize("declared_seconds", [0, 0.01, 2.0, 5.0, 9.0])
def test_a_forged_flac_length_does_not_change_the_waveform(declared_seconds):
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
    "rf64": (lambda: with_soundfile("RF64", "PCM_16", noise(4.0)), True),
    "aiff": (lambda: with_soundfile("AIFF", "PCM_16", noise(4.0)), True),
    "flac": (lambda: with_soundfile("FLAC", "PCM_16", noise(4.0)), True),
    "ogg-vorbis": (lambda: with_soundfile("OGG", "VORBIS", noise(4.0)), True),
    "ogg-opus": (lambda: with_soundfile("OGG", "OPUS", noise(4.0, 48_000), 48_000), True),
    "bw64": (lambda: b"BW64" + with_soundfile("RF64", "PCM_16", noise(4.0))[4:], True),
    "w64": (lambda: with_soundfile("W64", "PCM_16", noise(4.0)), True),
    "caf": (lambda: with_soundfile("CAF", "PCM_16", noise(4.0)), True),
    "caf-alac": (lambda: with_soundfile("CAF", "ALAC_16", noise(4.0)), True),
    "au": (lambda: with_soundfile("AU", "PCM_16", noise(4.0)), True),
    "dsf": (lambda: dsf(noise(4.0)[:, 0] / 2), True),
    "wma": (lambda: with_ffmpeg("asf", "wmav2", noise(4.0, 48_000, 2)), True),
    "wavpack": (lambda: with_ffmpeg("wv", "wavpack", noise(4.0, 48_000, 2)), True),
    "tta": (lambda: with_ffmpeg("tta", "tta", noise(4.0, 48_000, 2)), True),
    "ac3": (lambda: with_ffmpeg("ac3", "ac3", noise(4.0, 48_000, 2)), False),
    "eac3": (lambda: with_ffmpeg("eac3", "eac3", noise(4.0, 48_000, 2)), False),
    "latm": (lambda: with_ffmpeg("latm", "aac", noise(4.0, 48_000, 2)), False),
    "mpegts": (lambda: with_ffmpeg("mpegts", "aac", noise(4.0, 48_000, 2)), False),
    "mpegps": (lambda: with_ffmpeg("mpeg", "mp2", noise(4.0, 48_000, 2)), False),
    "avi": (lambda: with_ffmpeg("avi", "ac3", noise(4.0, 48_000, 2)), False),
    "flv": (lambda: with_ffmpeg("flv", "aac", noise(4.0, 48_000, 2)), False),
    "aac-adts": (lambda: with_ffmpeg("adts", "aac", noise(4.0, 48_000, 2)), False),
    "webm-opus": (lambda: with_ffmpeg("webm", "libopus", noise(4.0, 48_000, 2)), False),
}
"""How to encode, and whether the format tells that something is missing."""


@pytest.mark.parametrize("name", BROKEN_OFF)
def test_a_truncated_stream_gives_its_beginning(name):
    encode, tells = BROKEN_OFF[name]
    content = encode()
    assert not decode(content).truncated
    recording = decode(content[: int(len(content) * 0.6)])
    assert 1.5 < recording.duration_seconds < 3.0
    if tells:
        assert recording.truncated


def with_a_gap_in_its_times(content: bytes, samples: int) -> bytes:
    """Ogg whose last pages say that they are so many samples later."""
    pages = [b"OggS" + page for page in content.split(b"OggS")[1:]]
    for place in range(len(pages) // 2, len(pages)):
        position = int.from_bytes(pages[place][6:14], "little") + samples
        pages[place] = with_check(pages[place][:6] + position.to_bytes(8, "little") + pages[place][14:])
    return b"".join(pages)


@pytest.mark.parametrize(("samples", "truncated"), [(0, False), (300, False), (4_800, True)])
@pytest.mark.parametrize(("codec", "rate"), [("VORBIS", 44_100), ("OPUS", 48_000)])
def test_a_gap_in_the_times_of_ogg_that_holds_no_packet_is_no_missing_sound(codec, rate, samples, truncated):
    content = with_soundfile("OGG", codec, noise(10.0, rate), rate)
    recording = decode(with_a_gap_in_its_times(content, samples))
    assert recording.duration_seconds == pytest.approx(10.0, abs=0.01)
    assert recording.truncated == truncated


def test_a_truncated_mp3_with_a_declared_length():
    content = with_soundfile("MP3", None, noise(4.0))
    assert b"Xing" in content[:4096] or b"Info" in content[:4096]  # LAME's header with the number of frames
    recording = decode(content[: len(content) // 2])
    assert recording.truncated
    assert 1.5 < recording.duration_seconds < 2.5


def test_a_broken_middle_is_skipped():
    content = bytearray(with_soundfile("FLAC", None, noise(4.0)))
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    recording = decode(bytes(content))
    assert recording.duration_seconds > 3.0
    assert np.abs(recording.waveform[-SAMPLE_RATE:]).max() > 0.1


def test_broken_packets_are_skipped_and_reported():
    content = bytearray(with_ffmpeg("adts", "aac", noise(4.0, 48_000, 2)))
    middle = len(content) // 2
    content[middle : middle + 3000] = noise(1.0).tobytes()[:3000]
    recording = decode(bytes(content))
    assert recording.truncated
    assert 3.0 < recording.duration_seconds < 4.1


def test_an_m4a_truncated_after_its_index(tmp_path):
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
def test_a_few_samples_that_are_not_finite_are_silence(bad_value, channels):
    samples = tone(1.0, channels=channels)
    silent = samples.copy()
    samples[20_000], silent[20_000] = bad_value, 0.0
    recording = decode(with_soundfile("WAV", "FLOAT", samples))
    np.testing.assert_array_equal(recording.waveform, decode(with_soundfile("WAV", "FLOAT", silent)).waveform)
    assert recording.truncated


def test_one_bad_sample_at_the_end_costs_no_other():
    samples = tone(1.0)
    samples[-1] = np.inf
    recording = decode(with_soundfile("WAV", "FLOAT", samples))
    assert recording.duration_seconds == 1.0
    assert np.isfinite(recording.waveform).all()


def test_samples_after_the_part_that_is_wanted_do_not_count():
    samples = tone(1.0)
    samples[30_000:30_100] = np.nan  # in the same block as the last wanted sample
    assert not decode(with_soundfile("WAV", "FLOAT", samples), first_seconds=0.5).truncated


@pytest.mark.parametrize("bad_value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("place", [0, 20_000])
def test_many_samples_that_are_not_finite_are_refused(bad_value, place):
    samples = tone(1.0)
    samples[place : place + 100] = bad_value
    with pytest.raises(UndecodableAudio, match="finite"):
        decode(with_soundfile("WAV", "FLOAT", samples))


@pytest.mark.parametrize("source", [b"", with_soundfile("WAV", None, np.zeros((0, 2)))])
def test_empty_recordings(source):
    with pytest.raises(EmptyAudio):
        decode(source)


# fmt: off
OTHER_MARKS = (
    b"BW64\0\0\0\0WAVE", b"riff\x2e\x91\xcf\x11", b"caff\0\1\0\0", b".snd", b"wvpk",
    b"MAC \x96\x0f\0\0", b"TTA1\1\0\2\0",
    b"MP+\x07", b"MPCKSH", bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), b"\x0b\x77\0\0\0\x50",
    b"\x0b\x77\0\0\0\x80",
    b"\x7f\xfe\x80\1", b"DSD \x1c\0\0\0", b"\0\0\1\xba", b"FLV\1\5\0\0\0\x09",
    b"\0\0\0\x18stypmsdh", b"\0\0\0\x20uuid",
)
# fmt: on


@pytest.mark.parametrize(
    "magic", [b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf1", b"\0\0\0\x20ftyp", *OTHER_MARKS]
)
def test_files_with_only_correct_first_bytes(magic):
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
