"""What is right goes in, in every format."""

from __future__ import annotations

import io
import math
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from ccmusic.audio.audio_file import open_audio
from ccmusic.audio.budget import Budget
from ccmusic.audio.decode import SAMPLE_RATE, DecodeLimits, decode
from ccmusic.audio.identify import identify
from ccmusic.errors import UnsupportedMedia
from support.encoding import (
    ENCODED,
    assert_tone,
    noise,
    tone,
    wav_header,
    with_ffmpeg,
    with_soundfile,
)


def test_pitch_and_level_survive(encoded):
    _, content = encoded
    recording = decode(content)
    assert_tone(recording)
    assert not recording.truncated
    assert recording.decode_seconds > 0
    assert recording.resample_seconds >= 0


def test_the_content_names_the_format(encoded):
    container, content = encoded
    with Budget(DecodeLimits()) as budget, open_audio(content, len(content), budget) as file:
        assert identify(file).format.name == container


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


def test_blocks_make_no_difference_in_mp3():
    content = with_soundfile("MP3", None, tone(4.0))
    in_one_piece = soundfile.read(io.BytesIO(content), dtype="float32")[0].mean(axis=1)
    resampled = soxr.resample(in_one_piece, 44_100, SAMPLE_RATE, quality="HQ")
    np.testing.assert_allclose(decode(content).waveform, resampled, atol=1e-5)


@pytest.mark.parametrize(("format_name", "codec"), [("mp4", "aac"), ("webm", "libopus")])
def test_tags_in_another_encoding_do_not_stop_the_decoding(format_name, codec):
    encoded = with_ffmpeg(format_name, codec, tone(sample_rate=48_000), title="Caf@ Caf@")
    assert b"Caf@ Caf@" in encoded
    assert_tone(decode(encoded.replace(b"Caf@", "Café".encode("latin-1"))))


def test_first_seconds_beyond_the_end_gives_the_whole_recording():
    content = with_soundfile("WAV", None, tone(1.0))
    np.testing.assert_array_equal(decode(content, first_seconds=9.0).waveform, decode(content).waveform)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 24, 64])
def test_mono_is_the_mean_of_the_channels(channels):
    samples = noise(1.0, SAMPLE_RATE, channels)
    recording = decode(with_soundfile("WAV", "FLOAT", samples, SAMPLE_RATE))
    np.testing.assert_allclose(recording.waveform, samples.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(
    "sample_rate", [4000, 8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000, 384_000]
)
def test_resampling_in_blocks_equals_resampling_at_once(sample_rate):
    samples = noise(3.3, sample_rate)[:, 0]
    recording = decode(with_soundfile("WAV", "FLOAT", samples, sample_rate))
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


def test_a_recording_can_be_pickled():
    recording = decode(with_soundfile("WAV", None, tone(0.5)))
    copy = pickle.loads(pickle.dumps(recording))
    np.testing.assert_array_equal(copy.waveform, recording.waveform)
    assert copy.duration_seconds == recording.duration_seconds


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


def test_a_codec_of_no_music_is_not_tried():
    content = bytearray(wav_header(44_100, 2, 2**16) + bytes(2**16))
    content[20:22] = (0x166).to_bytes(2, "little")  # XMA
    with pytest.raises(UnsupportedMedia, match="codec"):
        decode(bytes(content))
