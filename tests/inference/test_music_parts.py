"""Silence has no vote."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ccmusic.features.cqt import FRAMES_PER_SECOND, cqt_db
from ccmusic.inference.music_parts import frame_power, loudness, music_parts, place_windows
from support.recordings import SAMPLE_RATE, tone


def music(seconds: float, amplitude: float = 0.3) -> np.ndarray:
    return np.asarray(tone(220.0, seconds, amplitude) + tone(554.4, seconds, amplitude / 2))


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def dither(seconds: float) -> np.ndarray:
    """Triangular, of two steps of 16 bits, rounded to 16 bits."""
    bits = np.random.PCG64(3).random_raw(2 * round(seconds * SAMPLE_RATE)) / 2.0**64
    steps = np.round(bits.reshape(2, -1).sum(axis=0) - 1.0)
    return (steps / 2**15).astype(np.float32)


def fading(seconds: float, from_db: float, to_db: float) -> np.ndarray:
    """Music that gets quieter and ends, at decibels relative to `music`."""
    waveform = music(seconds)
    return np.asarray(waveform * 10 ** (np.linspace(from_db, to_db, len(waveform)) / 20), dtype=np.float32)


def at_dbfs(waveform: np.ndarray, level: float) -> np.ndarray:
    return np.asarray(waveform * 10 ** (level / 20) / np.sqrt(np.mean(np.square(waveform))), dtype=np.float32)


def parts(waveform: np.ndarray) -> list[tuple[int, int]]:
    return music_parts(cqt_db(waveform), waveform)


def parts_seconds(*pieces: np.ndarray) -> list[tuple[float, float]]:
    waveform = np.concatenate(pieces)
    found = music_parts(cqt_db(waveform), waveform)
    return [(start / FRAMES_PER_SECOND, end / FRAMES_PER_SECOND) for start, end in found]


def test_a_recording_without_silence_is_one_part():
    waveform = music(5.0)
    assert music_parts(cqt_db(waveform), waveform) == [(0, 1 + len(waveform) // 512)]


@pytest.mark.parametrize("quiet", [silence, dither])
@pytest.mark.parametrize("amplitude", [0.3, 0.003])
def test_silence_around_the_music_is_no_part_of_it(quiet, amplitude):
    [(start, end)] = parts_seconds(quiet(2.0), music(4.0, amplitude), quiet(30.0))
    assert start == pytest.approx(2.0, abs=0.3)
    assert end == pytest.approx(6.0, abs=0.3)


def test_lasting_silence_divides_and_a_pause_does_not():
    pieces = [music(3.0), silence(0.7), music(3.0), silence(5.0), music(2.0)]
    (first, second), (third, fourth) = parts_seconds(*pieces)
    assert (first, second) == (0.0, pytest.approx(6.7, abs=0.3))
    assert (third, fourth) == (pytest.approx(11.7, abs=0.3), pytest.approx(13.7, abs=0.05))


HUM = tone(50.0, 8.0, 1.0)
HISS = 2e4 * dither(8.0)


@pytest.mark.parametrize("noise", [HUM, HISS], ids=["hum", "hiss"])
def test_what_is_far_below_the_music_is_silence(noise):
    in_music = float(np.sqrt(np.mean(np.square(music(4.0)))))
    noise = noise / np.sqrt(np.mean(np.square(noise))) * in_music
    [(start, end)] = parts_seconds(music(4.0), noise * np.float32(10 ** (-48 / 20)))
    assert (start, end) == (0.0, pytest.approx(4.0, abs=0.5))
    assert parts_seconds(music(4.0), noise * np.float32(10 ** (-30 / 20))) == [(0.0, pytest.approx(12.0, abs=0.05))]


def test_an_offset_is_silence_too():
    waveform = np.concatenate([music(4.0), silence(8.0)]) + np.float32(0.3)
    [(_, end)] = music_parts(cqt_db(waveform), waveform)
    assert end / FRAMES_PER_SECOND == pytest.approx(4.0, abs=0.5)


def test_a_loud_click_does_not_make_the_music_silent():
    waveform = np.concatenate([music(10.0, 0.01), music(10.0, 0.004)])
    waveform[1000] = 1.0
    assert music_parts(cqt_db(waveform), waveform) == [(0, 1 + len(waveform) // 512)]


@pytest.mark.parametrize(("quiet", "tolerance"), [(silence, 0), (dither, 5)])
@pytest.mark.parametrize("fade_seconds", [1.2, 0.25])
@pytest.mark.parametrize("hops", [44, 1300])
def test_a_fade_into_silence_belongs_to_the_music_as_it_does_without_the_silence(quiet, tolerance, fade_seconds, hops):
    lasting = quiet(hops * 512 / SAMPLE_RATE)
    song = np.concatenate([music(4.0), fading(fade_seconds, 0.0, -78.0)])
    [(start, end)] = parts(np.concatenate([song, lasting]))
    assert (start, end) == (0, pytest.approx(1 + len(song) // 512, abs=tolerance))
    [(start, end)] = parts(np.concatenate([lasting, song[::-1]]))
    assert (start, end) == (pytest.approx(hops, abs=tolerance), 1 + hops + len(song) // 512)


def test_a_fade_is_at_most_as_long_as_a_pause():
    [(_, end)] = parts_seconds(music(8.0), fading(3.0, 0.0, -90.0), silence(5.0))
    assert end == pytest.approx(8.0 + 1.5 + 1.0, abs=0.15)


def test_noise_behind_the_music_is_no_fade_though_it_ends():
    music_and_fade = np.concatenate([music(4.0), fading(0.5, 0.0, -50.0)])
    noise = at_dbfs(HISS, -66.0)
    [(_, end)] = parts_seconds(music_and_fade, noise[: 5 * SAMPLE_RATE], silence(5.0))
    assert end == pytest.approx(4.5, abs=0.1)


def test_fades_on_both_sides_of_a_silence_are_heard_once():
    fade = fading(1.2, 0.0, -80.0)
    waveform = np.concatenate([music(3.0), fade, fade[::-1], music(3.0)])
    (first, end), (start, last) = parts(waveform)
    assert (first, last) == (0, 1 + len(waveform) // 512)
    assert 0 <= start - end < 20


@pytest.mark.parametrize("left", [fading(0.01, -60.0, -60.0), fading(0.5, -100.0, -150.0)], ids=["short", "long"])
def test_what_filters_leave_in_the_silence_behind_a_cut_is_no_fade(left):
    cut = music(4.0)[: 172 * 512]
    assert parts(np.concatenate([cut, left, silence(5.0)])) == [(0, 172)]


@pytest.mark.parametrize("quiet", [dither(8.0), at_dbfs(HISS, -87.0)], ids=["dither", "shaped dither"])
def test_the_dither_of_16_bits_is_silence_however_quiet_the_music_is(quiet):
    assert parts_seconds(at_dbfs(HISS[: 4 * SAMPLE_RATE], -65.0), quiet) == [(0.0, pytest.approx(4.0, abs=0.1))]


def test_music_above_the_dither_of_16_bits_is_music():
    assert parts_seconds(at_dbfs(HISS[: 4 * SAMPLE_RATE], -82.0), silence(8.0)) == [(0.0, pytest.approx(4.0, abs=0.1))]


@pytest.mark.parametrize("waveform", [silence(5.0), dither(5.0)])
def test_only_silence_is_one_part(waveform):
    assert music_parts(cqt_db(waveform), waveform) == [(0, 1 + len(waveform) // 512)]


def test_clicks_between_silences_are_analysed_as_they_are():
    clicks = np.concatenate([music(0.1), silence(2.0)] * 4)
    assert music_parts(cqt_db(clicks), clicks) == [(0, 1 + len(clicks) // 512)]


def test_beeps_are_analysed_as_they_are_though_one_is_longer():
    beeps = np.concatenate([*[music(0.5), silence(3.0)] * 3, music(1.2)])
    assert music_parts(cqt_db(beeps), beeps) == [(0, 1 + len(beeps) // 512)]


def test_a_part_has_at_least_the_frames_of_the_shortest_window():
    waveform = np.concatenate([silence(5.0), music(1.5), silence(5.0)])
    [(start, end)] = music_parts(cqt_db(waveform), waveform, min_frames=130)
    assert end - start == 130
    assert start < 5.3 * FRAMES_PER_SECOND


def test_loudness_does_not_depend_on_silence():
    tones, long = music(4.0), np.concatenate([music(4.0), silence(60.0)])
    difference_db = 10 * np.log10(loudness(frame_power(cqt_db(long))) / loudness(frame_power(cqt_db(tones))))
    assert difference_db == pytest.approx(0.0, abs=0.3)


def test_loudness_is_that_of_the_music_if_a_click_is_far_above_most_of_it():
    power = np.repeat([1.0, 10**-4.0, 10**-4.8, 1e-12], [1, 10**4, 10**6, 10**6])
    assert loudness(power) == pytest.approx(power[: -(10**6)].mean(), rel=1e-9)


def halves(length: int, count: int | None) -> list[tuple[int, int]]:
    edges = np.linspace(0, length, (count or 2) + 1).astype(int).tolist()
    return list(pairwise(edges))


def test_windows_are_in_the_parts_and_weigh_what_they_stand_for():
    windows, weights = place_windows([(0, 100), (400, 440)], halves, None)
    assert windows == [(0, 50), (50, 100), (400, 420), (420, 440)]
    assert weights.tolist() == [1.0, 1.0, 0.4, 0.4]


@pytest.mark.parametrize(("count", "in_parts"), [(1, [1, 0]), (2, [1, 1]), (5, [4, 1]), (10, [7, 3])])
def test_a_number_of_windows_is_shared_out_by_length(count, in_parts):
    windows, weights = place_windows([(0, 100), (400, 440)], halves, count)
    assert [sum(start < 400 for start, _ in windows), sum(start >= 400 for start, _ in windows)] == in_parts
    assert weights.max() == 1.0
