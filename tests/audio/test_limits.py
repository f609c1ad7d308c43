"""What is too much is refused, before it takes memory."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile

from ccmusic.audio.decode import DecodeLimits, decode
from ccmusic.errors import (
    AudioError,
    AudioTooLong,
    UndecodableAudio,
    UnsupportedMedia,
    UploadTooLarge,
)
from support.encoding import (
    tone,
    wav_header,
    with_flac_total,
    with_soundfile,
)
from support.hostile_files import HOSTILE, opus, silent_flac
from support.waiting import PATIENCE_SECONDS


@pytest.mark.parametrize("as_path", [False, True])
def test_too_many_bytes(tmp_path, as_path):
    content = with_soundfile("WAV", None, tone(1.0))
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    source = path if as_path else content
    assert decode(source, DecodeLimits(max_bytes=len(content))).duration_seconds == 1.0
    with pytest.raises(UploadTooLarge, match=f"{len(content):,} bytes"):
        decode(source, DecodeLimits(max_bytes=len(content) - 1))


@pytest.mark.parametrize(
    ("limits", "settings", "way_around"),
    [
        ({"max_bytes": 1000}, ["MAX_UPLOAD_BYTES"], "send a shorter or compressed version"),
        ({"max_seconds": 1.0}, ["MAX_SECONDS"], "--windows first30"),
        ({"max_samples": 1000}, ["MAX_SAMPLES"], "--windows first30"),
        ({"max_channels": 1}, ["MAX_CHANNELS"], "send a stereo or mono version"),
        ({"max_sample_rate": 8000}, ["MIN_SAMPLE_RATE", "MAX_SAMPLE_RATE"], "send a version at 44,100 Hz"),
        ({"decode_seconds": 0.0, "decode_share": 0.0}, ["DECODE_SECONDS", "DECODE_SHARE"], "export it again"),
    ],
)
def test_a_refusal_names_the_setting_and_the_way_around_it(limits, settings, way_around):
    with pytest.raises(AudioError, match=re.escape(way_around)) as caught:
        decode(with_soundfile("WAV", None, tone(2.0)), DecodeLimits(**limits))
    assert re.findall(r"CCMUSIC_(\w+)", str(caught.value)) == settings


def test_the_beginning_of_a_recording_that_is_too_long_is_the_way_around():
    limits = DecodeLimits(max_seconds=1.0, max_samples=100_000)
    content = with_soundfile("WAV", None, tone(2.0))
    assert decode(content, limits, first_seconds=0.5).duration_seconds == 0.5


def test_too_long_in_every_format(encoded):
    _, content = encoded
    with pytest.raises(AudioTooLong, match="1 s"):
        decode(content, DecodeLimits(max_seconds=1.0))


PEAK = """
import sys
from pathlib import Path
from ccmusic.audio.decode import DecodeLimits, decode
def peak():  # `ru_maxrss` would count the memory of the process that started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
content = sys.stdin.buffer.read()
before = peak()
decode(content, DecodeLimits(decode_seconds=60.0))  # also on a slow machine: memory is what counts here
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc/self/status")
@pytest.mark.parametrize("name", ["mp4-picture", "mkv-tracks"])
def test_what_is_beside_the_sound_is_not_opened(name):
    """Without a bound of the kernel: the picture would take 290 MB, the tracks 190 MB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK],
        input=HOSTILE[name](),
        check=True,
        stdout=subprocess.PIPE,
        timeout=PATIENCE_SECONDS,
    )
    assert int(done.stdout) < 100


@pytest.mark.parametrize("total", [None, 0, 1])
def test_too_many_samples_in_all_channels(total):
    """By the header, and by counting where it says less."""
    content = silent_flac(20, 48_000, 8, total) + bytes(2**17)
    with pytest.raises(AudioTooLong, match="5,000,000 samples in all its channels"):
        decode(content, DecodeLimits(max_samples=5_000_000))
    assert decode(content, DecodeLimits(max_samples=8_000_000)).duration_seconds == pytest.approx(20.0, abs=0.5)


def test_an_ogg_file_that_goes_on_for_longer_than_it_declares():
    with pytest.raises(UndecodableAudio, match="longer than it declares"):
        decode(opus(60.0, 1.0))
    assert decode(opus(60.0, 59.0)).duration_seconds > 59.0


@pytest.mark.parametrize("sample_rate", [1, 3999, 768_001, 2_000_000_000])
def test_sample_rate_outside_the_limits(sample_rate):
    content = wav_header(sample_rate, 1, 2_000_000) + bytes(2_000_000)
    assert_refused_in_little_memory(content, UnsupportedMedia, f"{sample_rate:,} Hz", 2**20)


@pytest.mark.parametrize("channels", [65, 255, 1024])
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


def test_a_decompression_bomb_that_declares_its_length(silence_bomb):
    assert_refused_in_little_memory(silence_bomb, AudioTooLong, "10 s", 2**20, max_seconds=10.0)


@pytest.mark.parametrize("declared_frames", [0, 1, 192_000])
def test_a_decompression_bomb_with_a_false_length(silence_bomb, declared_frames):
    content = with_flac_total(silence_bomb + noise_frames_behind(), declared_frames)
    assert_refused_in_little_memory(content, AudioTooLong, "10 s", 8 * 2**20, max_seconds=10.0)


def noise_frames_behind() -> bytes:
    return bytes(2**17)  # so that much of the file is unread where the header ends it


def test_a_decompression_bomb_within_the_limit_takes_no_more_memory_than_its_mono_result(silence_bomb):
    tracemalloc.start()
    try:
        recording = decode(silence_bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert recording.duration_seconds == 30.0
    assert peak < 1.3 * recording.waveform.nbytes + 6 * 2**20
