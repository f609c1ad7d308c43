"""Recordings of other encoders and devices than those of `ENCODED`, and containers inside others."""

from __future__ import annotations

import io
import struct
import wave

import av
import numpy as np
import pytest

from ccmusic.audio.decode import SAMPLE_RATE, DecodeLimits, decode
from ccmusic.errors import AudioTooLong, UndecodableAudio
from support.encoding import ENCODED, FREQUENCY, UUID_BOX, noise, silent_ape, stored, tone, with_ffmpeg, with_soundfile
from support.tracks import MARK, frequency_of, sound, spdif, with_tracks


def heard(content: bytes) -> float:
    return frequency_of(decode(content).waveform, SAMPLE_RATE)


def wav(content: bytes, sample_rate: int = 44_100) -> bytes:
    """These bytes as the samples of a stereo WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        out.writeframes(content)
    return file.getvalue()


def swapped(content: bytes) -> bytes:
    """Words of 16 bits in the other byte order, as DTS is on a CD."""
    return np.frombuffer(content[: len(content) // 2 * 2], dtype=">u2").astype("<u2").tobytes()


@pytest.mark.parametrize(("name", "seconds"), [("tone.dts", 0.2), ("tone.mpc", 0.3)])
def test_files_of_other_encoders(name, seconds):
    content = stored(name)
    recording = decode(content)
    assert recording.duration_seconds == pytest.approx(seconds, abs=0.03)
    assert frequency_of(recording.waveform, SAMPLE_RATE) == pytest.approx(FREQUENCY, abs=6)
    assert not recording.truncated


@pytest.mark.parametrize("n_zeros", [0, 40_000])
class TestSoundThatDeclaresToBePcm:
    """Read as PCM it would be noise."""

    def test_dts_of_a_cd(self, n_zeros):
        assert heard(wav(bytes(n_zeros) + swapped(stored("tone.dts")))) == pytest.approx(440, abs=6)

    @pytest.mark.parametrize("codec", ["ac3", "eac3", "mp2"])
    def test_a_digital_output(self, codec, n_zeros):
        recording = decode(wav(bytes(n_zeros) + spdif(codec), 48_000))
        assert frequency_of(recording.waveform, SAMPLE_RATE) == pytest.approx(MARK, abs=2)
        assert recording.duration_seconds == pytest.approx(1.0, abs=0.1)
        assert not recording.truncated


def test_pcm_with_the_marks_of_other_formats_is_pcm():
    samples = (noise(1.0, 44_100, 2) * 30_000).astype("<i2").tobytes()
    marked = samples[:1000] + b"\x72\xf8\x1f\x4e\x01\0" + samples[1006:90_000] + b"\xfe\x7f\x01\x80\0\0" * 9
    assert decode(wav(marked)).duration_seconds == len(marked) // 4 / 44_100


def test_speech_of_a_phone():
    content = with_amr(tone(1.0, 8000, 1)[:, 0])
    assert heard(content) == pytest.approx(FREQUENCY, abs=6)


def with_amr(samples: np.ndarray) -> bytes:
    if "libopencore_amrnb" not in av.codecs_available:
        pytest.skip("this PyAV has no encoder of AMR")
    file = io.BytesIO()
    with av.open(file, "w", format="amr") as media:
        stream = media.add_stream("libopencore_amrnb", rate=8000, layout="mono")
        stream.bit_rate = 12_200
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        media.mux(stream.encode(frame))
        media.mux(stream.encode(None))
    return file.getvalue()


def test_monkeys_audio():
    recording = decode(silent_ape(88_200))
    assert recording.duration_seconds == 2.0
    assert not recording.waveform.any()


@pytest.mark.parametrize("name", ["bw64", "w64", "caf", "au", "wavpack", "tta", "wma", "avi", "flv", "mpegps", "dsf"])
def test_a_tag_in_front_of_a_recording(name):
    content = ENCODED[name][1]()
    recording = decode(b"ID3\x04\0\0\0\0\x10\0" + bytes(2048) + content)
    assert recording.duration_seconds == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("moves", [0, len(UUID_BOX)])
def test_a_box_in_front_of_an_mp4(moves):
    """Whether the offsets in the index count the box or not."""
    content = with_ffmpeg("mp4", "aac", tone(sample_rate=48_000))
    at = content.index(b"stco") + 12
    offset = int.from_bytes(content[at : at + 4], "big") + moves
    recording = decode(UUID_BOX + content[:at] + struct.pack(">I", offset) + content[at + 4 :])
    assert frequency_of(recording.waveform, SAMPLE_RATE) == pytest.approx(FREQUENCY, abs=2)
    assert not recording.truncated


@pytest.mark.parametrize("n_channels", [16, 24])
@pytest.mark.parametrize(("form", "codec"), [("wav", "pcm_s24le"), ("matroska", "pcm_f32le")])
def test_many_channels(form, codec, n_channels):
    samples = noise(0.5, 48_000, n_channels)
    file = io.BytesIO()
    with av.open(file, "w", format=form) as media:
        stream = media.add_stream(codec, rate=48_000, layout=f"{n_channels}c")
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=f"{n_channels}c")
        frame.sample_rate, frame.pts = 48_000, 0
        media.mux(stream.encode(frame))
        media.mux(stream.encode(None))
    expected = decode(with_soundfile("WAV", "FLOAT", samples.mean(axis=1), 48_000)).waveform
    np.testing.assert_allclose(decode(file.getvalue()).waveform, expected, atol=1e-5)


def test_the_limits_hold_for_a_silent_track_before_another():
    content = with_tracks("mov", "pcm_s16le", sound(MARK, 3.0, 0.0), sound(MARK, 3.0))
    with pytest.raises(AudioTooLong):
        decode(content, DecodeLimits(max_seconds=2.0))


@pytest.mark.parametrize("n_tracks", [1, 2])
def test_samples_of_a_track_that_are_not_finite_are_counted_once(n_tracks):
    samples = sound(MARK, 3.0)
    samples[100_000] = np.nan
    assert decode(with_tracks("matroska", "pcm_f32le", *[samples] * n_tracks)).truncated
    samples[100_000:101_000] = np.nan
    with pytest.raises(UndecodableAudio, match="finite"):
        decode(with_tracks("matroska", "pcm_f32le", *[samples] * n_tracks))


def test_bad_samples_of_a_silent_track_do_not_count():
    silent = np.zeros_like(sound(MARK, 3.0))
    silent[100_000:101_000] = np.nan
    assert not decode(with_tracks("matroska", "pcm_f32le", silent, sound(MARK, 3.0))).truncated
