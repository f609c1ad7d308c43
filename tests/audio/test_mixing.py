"""The mono mix keeps the music, whatever the channels are."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from ccmusic.audio import mixing
from ccmusic.audio.decode import SAMPLE_RATE, decode
from ccmusic.audio.layouts import low_frequency_channels
from ccmusic.audio.mixing import ChannelMix
from support.encoding import noise, tone, with_ffmpeg, with_soundfile

RATE = 44_100


def music(seconds: float = 12.0) -> np.ndarray:
    """Pink-like noise and chords that come and go [shape=(n,), dtype=float32]."""
    time = np.arange(int(seconds * RATE)) / RATE
    chord = sum(np.sin(2 * np.pi * f * time) for f in (110.0, 277.2, 329.6, 1318.5))
    hiss = np.convolve(noise(seconds, RATE)[:, 0], np.ones(8) / 8, mode="same")
    return (0.1 * chord * (0.6 + 0.4 * np.sin(2 * np.pi * time)) + 0.2 * hiss).astype(np.float32)


def mixed(samples: np.ndarray, block_frames: int = 2**15, low_frequency: tuple[int, ...] = ()):
    mix = ChannelMix(RATE, samples.shape[1], low_frequency)
    blocks = [mix.add(samples[first : first + block_frames]) for first in range(0, len(samples), block_frames)]
    return np.concatenate([*blocks, mix.finish()]) * mix.gain, mix


def in_bands(waveform: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(waveform.astype(np.float64))
    frequencies = np.fft.rfftfreq(len(waveform), 1 / RATE)
    spectrum[(frequencies < low_hz) | (frequencies > high_hz)] = 0
    return np.fft.irfft(spectrum, len(waveform)).astype(np.float32)


def power_db(waveform: np.ndarray, low_hz: float, high_hz: float) -> float:
    return float(10 * np.log10(np.mean(np.square(in_bands(waveform, low_hz, high_hz)))))


@pytest.mark.parametrize("block_frames", [777, 2**15, 10**6])
def test_ordinary_stereo_is_exactly_the_mean(block_frames):
    stereo = np.stack([music(3.0) + 0.05 * noise(3.0)[:, 0], 0.7 * music(3.0)], axis=1)
    waveform, mix = mixed(stereo, block_frames)
    np.testing.assert_array_equal(waveform, stereo @ np.full(2, 0.5, np.float32))
    assert not mix.cancelled


@pytest.mark.parametrize("n_frames", [1, 2, 2047, 2048, 2049, 2**15 - 1, 2**15, 2**15 + 1])
def test_every_sample_comes_out_once(n_frames):
    stereo = noise(1.0, RATE, 2)[:n_frames]
    np.testing.assert_array_equal(mixed(stereo, 1000)[0], stereo @ np.full(2, 0.5, np.float32))


@pytest.mark.parametrize("right", [-1.0, -0.98, -0.7])
def test_an_inverted_channel_does_not_cancel_the_other(right):
    mono = music()
    waveform, mix = mixed(np.stack([mono, right * mono], axis=1))
    np.testing.assert_allclose(waveform, (1 - right) / 2 * mono, atol=1e-6)
    assert mix.cancelled


def test_one_inverted_band_is_kept_and_the_others_stay():
    mono = music()
    right = mono - 2 * in_bands(mono, 250.0, 1000.0)
    lost = np.stack([mono, right], axis=1).mean(axis=1)
    waveform, mix = mixed(np.stack([mono, right], axis=1))
    assert mix.cancelled
    assert power_db(lost, 260, 980) < power_db(mono, 260, 980) - 60
    for low_hz, high_hz in ((50, 200), (270, 930), (1200, 8000)):
        assert power_db(waveform, low_hz, high_hz) == pytest.approx(power_db(mono, low_hz, high_hz), abs=0.5)


def test_a_part_of_the_recording_is_inverted():
    mono = music(40.0)
    right = mono.copy()
    right[: len(right) // 2] *= -1
    waveform, mix = mixed(np.stack([mono, right], axis=1))
    assert mix.cancelled
    in_time = np.abs(waveform) / np.maximum(np.abs(mono), 1e-3)
    loud = np.abs(mono) > 0.1
    assert np.mean(in_time[loud] > 0.99) > 0.8  # it takes some seconds until the change is noticed


@pytest.mark.parametrize("silent_seconds", [0.6, 1.0, 1.7])
def test_the_first_sound_after_silence_is_measured(silent_seconds):
    mono = np.concatenate([np.zeros(int(silent_seconds * RATE), np.float32), music(6.0)])
    waveform, _ = mixed(np.stack([mono, -mono], axis=1))
    loud = np.abs(mono) > 0.05
    assert np.mean(np.abs(waveform[loud]) > 0.9 * np.abs(mono[loud])) > 0.97


def test_the_first_sound_of_each_channel_is_measured():
    mono = music(1.2)
    late = mono.copy()
    late[: int(0.3 * RATE)] = 0.0
    waveform, mix = mixed(np.stack([mono, late], axis=1))
    assert mix.gain == 1.0
    np.testing.assert_array_equal(waveform, np.stack([mono, late], axis=1) @ np.full(2, 0.5, np.float32))


@pytest.mark.parametrize(("level_db", "inverted"), [(-70, False), (-50, True)])
def test_a_band_60_db_below_the_whole_is_left_as_it_is(level_db, inverted):
    loud = tone(4.0)
    faint = in_bands(noise(4.0)[:, 0], 3000.0, 6000.0)
    faint *= 10 ** (level_db / 20) * np.sqrt(np.mean(np.square(loud)) / np.mean(np.square(faint)))
    stereo = loud + np.stack([faint, -faint], axis=1)
    waveform, mix = mixed(stereo)
    assert np.array_equal(waveform, stereo @ np.full(2, 0.5, np.float32)) != inverted
    assert mix.cancelled == inverted


def test_a_band_that_cancels_for_a_moment_is_mended_without_a_note():
    mono = music(30.0)
    right = mono.copy()
    right[: 2 * RATE] -= 2 * in_bands(mono[: 2 * RATE], 500.0, 720.0)
    waveform, mix = mixed(np.stack([mono, right], axis=1))
    assert power_db(waveform[: 2 * RATE], 550, 650) == pytest.approx(power_db(mono[: 2 * RATE], 550, 650), abs=1.0)
    assert not mix.cancelled


@pytest.mark.parametrize(("channels", "heard"), [(8, True), (10, False)])
def test_the_channels_of_a_loudspeaker_system_do_not_cancel_and_the_tracks_of_a_studio_are_averaged(channels, heard):
    mono = music(2.0)
    signs = np.repeat([1.0, -1.0], channels // 2).astype(np.float32)
    waveform, mix = mixed(mono[:, np.newaxis] * signs)
    np.testing.assert_allclose(waveform, heard * mono, atol=1e-6)
    assert mix.cancelled == heard


def test_coding_noise_of_a_cancelled_mix_is_not_the_answer():
    mono = music(8.0)
    recording = decode(with_soundfile("MP3", None, np.stack([mono, -mono], axis=1)))
    right_way = decode(with_soundfile("MP3", None, np.stack([mono, mono], axis=1)))
    assert recording.channels_cancel
    assert not right_way.channels_cancel
    middle = slice(SAMPLE_RATE, 7 * SAMPLE_RATE)
    likeness = np.corrcoef(recording.waveform[middle], right_way.waveform[middle])[0, 1]
    assert abs(likeness) > 0.98


def correlated(seconds: float, correlation: float) -> np.ndarray:
    """Noise on two equally loud channels with this correlation [shape=(n, 2), dtype=float32]."""
    first, other = noise(seconds, RATE, 2).T
    return np.stack([first, correlation * first + np.sqrt(1 - correlation**2) * other], axis=1).astype(np.float32)


def lost_seconds(waveform: np.ndarray, mono: np.ndarray) -> float:
    """How much of the loud music is not there."""
    loud = np.abs(mono) > 0.1
    return float(np.mean(np.abs(waveform[loud]) < 0.5 * np.abs(mono[loud]))) * len(mono) / RATE


def test_a_change_is_noticed_soon_after_a_long_calm_part():
    mono = music(60.0)
    right = mono.copy()
    right[40 * RATE :] *= -1
    waveform, _ = mixed(np.stack([mono, right], axis=1))
    assert 4.0 < lost_seconds(waveform, mono) < 10.0  # 4 s times the logarithm of 7


def test_while_nothing_is_lost_one_of_three_blocks_is_measured(monkeypatch):
    measured = []
    covariance = mixing._covariance
    monkeypatch.setattr(mixing, "_covariance", lambda *given: measured.append(1) or covariance(*given))
    mono = music(30.0)
    _, mix = mixed(np.stack([mono, 0.5 * mono], axis=1))
    assert len(measured) == pytest.approx(len(mono) / mix._block / 3, abs=2)


def test_what_is_inverted_stays_so_where_the_channels_cancel_less():
    """At this correlation inverting gives four times the power: enough to stay, too little to begin."""
    less = correlated(20.0, -0.6)
    as_mean, _ = mixed(less)
    np.testing.assert_array_equal(as_mean, less @ np.full(2, 0.5, np.float32))
    opposite = correlated(10.0, -1.0)
    waveform, _ = mixed(np.concatenate([opposite, less]))
    end = slice(25 * RATE, 29 * RATE)
    difference = np.concatenate([opposite, less])[end] @ np.array([0.5, -0.5], np.float32)
    assert np.corrcoef(waveform[end], difference)[0, 1] > 0.99


def test_a_few_bins_that_correlate_by_chance_are_left_as_they_are():
    many = noise(60.0, RATE, 2)
    for part in np.split(many[: 30 * RATE], 30):
        np.testing.assert_array_equal(mixed(part)[0], part @ np.full(2, 0.5, np.float32))


def test_the_mix_does_not_jump_where_a_channel_begins_to_be_inverted():
    time = np.arange(20 * RATE) / RATE
    mono = (0.5 * np.sin(2 * np.pi * 100.0 * time)).astype(np.float32)
    right = np.where(time < 6.0, mono, -mono)
    waveform, mix = mixed(np.stack([mono, right], axis=1))
    assert mix.cancelled
    after = np.abs(np.diff(waveform[7 * RATE :]))
    assert after.max() < 1.1 * np.abs(np.diff(mono)).max()


def test_an_inverted_band_does_not_leak_into_others():
    """A tone 20 bins of the filter beside the inverted band, between two bins, is the mean."""
    mono = in_bands(noise(8.0, RATE)[:, 0], 300.0, 680.0)
    edge_bins = np.ceil(mixing.LOWEST_EDGE_HZ * 2.0 ** np.arange(3, 3.5, 0.5) / RATE * 4096)
    hertz = (edge_bins[0] + 20.5) * RATE / 4096
    beside = (0.25 * np.sin(2 * np.pi * hertz * np.arange(len(mono)) / RATE)).astype(np.float32)
    waveform, mix = mixed(np.stack([mono + beside, beside - mono], axis=1))
    assert mix.cancelled
    end = slice(4 * RATE, 7 * RATE)
    heard = power_db(waveform[end], hertz - 3, hertz + 3)
    assert heard == pytest.approx(power_db(beside[end], hertz - 3, hertz + 3), abs=0.01)


@pytest.mark.parametrize("n_frames", [5 * RATE + 100, 5 * RATE + 3000, 5 * RATE + 9000])
def test_the_end_is_mixed_as_if_silence_followed(n_frames):
    mono = music(8.0)
    right = mono - 2 * in_bands(mono, 250.0, 1000.0)
    stereo = np.stack([mono, right], axis=1)[:n_frames]
    longer = np.concatenate([stereo, np.zeros((3 * 2**14, 2), np.float32)])
    np.testing.assert_allclose(mixed(stereo)[0], mixed(longer)[0][:n_frames], atol=1e-4)


def test_a_band_that_becomes_faint_stays_as_it_is():
    covariance = np.array([[[1.0, 0.9], [0.9, 1.0]], [[1e-9, -1e-9], [-1e-9, 1e-9]]])
    for before in (False, True):
        inverted = np.array([[False, False], [False, before]])
        np.testing.assert_array_equal(mixing._inverted_channels(covariance, inverted, np.full(2, 6.0)), inverted)


def test_low_frequency_channels_alone_are_mixed():
    stereo = np.stack([music(1.0), 0.5 * music(1.0)], axis=1)
    np.testing.assert_array_equal(mixed(stereo, low_frequency=(0, 1))[0], stereo @ np.full(2, 0.5, np.float32))


def test_unrelated_channels_are_left_as_they_are():
    independent = noise(30.0, RATE, 2)
    waveform, mix = mixed(independent)
    np.testing.assert_array_equal(waveform, independent @ np.full(2, 0.5, np.float32))
    assert not mix.cancelled


@pytest.mark.parametrize("other", [0.0, 1e-4])
def test_a_dead_channel_does_not_halve_the_level(other):
    stereo = np.stack([music(3.0), other * noise(3.0)[:, 0]], axis=1)
    recording = decode(with_soundfile("WAV", "FLOAT", stereo))
    alone = decode(with_soundfile("WAV", "FLOAT", stereo[:, :1]))
    np.testing.assert_allclose(recording.waveform, alone.waveform, atol=2e-4)
    assert not recording.channels_cancel


@pytest.mark.parametrize(("level_db", "gain"), [(-54, 2.0), (-46, 1.0)])
def test_a_channel_is_dead_50_db_below_the_other(level_db, gain):
    mono = music(3.0)
    _, mix = mixed(np.stack([mono, 10 ** (level_db / 20) * mono], axis=1))
    assert mix.gain == gain


def test_silence_stays_silence():
    assert not decode(with_soundfile("WAV", "PCM_16", np.zeros((RATE, 2), np.float32))).waveform.any()


def surround() -> tuple[np.ndarray, np.ndarray]:
    """5.1 with a loud LFE channel in the fourth place, and the mean of the others."""
    channels = 0.3 * noise(2.0, RATE, 6)
    without = channels[:, [0, 1, 2, 4, 5]].mean(axis=1)
    channels[:, 3] = 0.9 * np.sin(2 * np.pi * 45 * np.arange(len(channels)) / RATE)
    return channels, without


@pytest.mark.parametrize("format_name", ["WAV", "WAVEX", "FLAC"])
def test_lfe_is_no_part_of_the_mix(format_name):
    channels, without = surround()
    recording = decode(with_soundfile(format_name, "PCM_24", channels))
    expected = decode(with_soundfile("WAV", "PCM_24", without))
    np.testing.assert_allclose(recording.waveform, expected.waveform, atol=1e-5)


def test_lfe_of_a_format_that_names_its_channels():
    channels, without = surround()
    content = with_ffmpeg("matroska", "flac", channels, RATE, layout="5.1")
    expected = decode(with_soundfile("WAV", "PCM_24", without))
    np.testing.assert_allclose(decode(content).waveform, expected.waveform, atol=1e-3)


def test_front_channels_of_surround_have_their_level():
    channels = np.zeros((2 * RATE, 6), np.float32)
    channels[:, :2] = tone()
    recording = decode(with_soundfile("WAV", "PCM_16", channels))
    assert np.abs(recording.waveform).max() == pytest.approx(0.5, rel=0.03)


def test_low_frequency_channels_by_mask_and_convention():
    def wav_head(mask: int) -> bytes:
        fmt = struct.pack("<HHIIHHHHI", 0xFFFE, 6, RATE, 0, 12, 16, 22, 16, mask)
        return b"RIFF\0\0\0\0WAVEJUNK\4\0\0\0\0\0\0\0fmt " + struct.pack("<I", 40) + fmt

    assert low_frequency_channels(wav_head(0x3F), "WAVEX", "PCM_16", 6) == (3,)
    assert low_frequency_channels(wav_head(0x0B), "WAVEX", "PCM_16", 3) == (2,)
    assert low_frequency_channels(wav_head(0x707), "WAVEX", "PCM_16", 6) == ()
    assert low_frequency_channels(wav_head(0), "WAVEX", "PCM_16", 6) == (3,)
    flac = b"fLaC....waveformatextensible_channel_mask=0x0107"
    assert low_frequency_channels(flac, "FLAC", "PCM_16", 4) == ()
    assert low_frequency_channels(b"OggS", "OGG", "VORBIS", 6) == (5,)
    assert low_frequency_channels(b"OggS", "OGG", "OPUS", 8) == (7,)
    assert low_frequency_channels(b"", "WAV", "PCM_16", 2) == ()
