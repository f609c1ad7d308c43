"""Computed sounds that are not music: inputs that a service may get by mistake or as a test.

Used by the tests and `bench/non_music.py`, which adds speech. The numbers are the same on every machine and numpy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SAMPLE_RATE = 22050
SECONDS = 12.0
N = int(SECONDS * SAMPLE_RATE)
TIME = np.arange(N) / SAMPLE_RATE


def _noise(seed: int, n: int = N) -> np.ndarray:
    # numpy keeps the raw bits of a named generator fixed, but not the distributions drawn from them.
    return np.random.PCG64(seed).random_raw(n) / 2.0**63 - 1.0


def _shaped(seed: int, decibels_per_octave: float, low: float = 20.0, high: float = 11_025.0) -> np.ndarray:
    spectrum = np.fft.rfft(_noise(seed))
    frequency = np.fft.rfftfreq(N, 1 / SAMPLE_RATE)
    gain = np.zeros_like(frequency)
    inside = (frequency >= low) & (frequency <= high)
    gain[inside] = (frequency[inside] / 1000.0) ** (decibels_per_octave / 6.02)
    return _scaled(np.fft.irfft(spectrum * gain, N))


def _scaled(sound: np.ndarray, peak: float = 0.5) -> np.ndarray:
    return peak * sound / np.abs(sound).max()


def _sine(frequency: float | np.ndarray) -> np.ndarray:
    """A sine of a constant or changing frequency."""
    phase = np.cumsum(np.broadcast_to(frequency, N)) / SAMPLE_RATE
    return np.sin(2 * np.pi * phase)


def _saw(frequency: float) -> np.ndarray:
    return sum(_sine(frequency * k) / k for k in range(1, int(10_000 / frequency) + 1))


def _square(frequency: float) -> np.ndarray:
    return sum(_sine(frequency * k) / k for k in range(1, int(10_000 / frequency) + 1, 2))


def _gate(on: float, period: float) -> np.ndarray:
    return ((TIME % period) < on).astype(float)


def _struck(times: np.ndarray, stroke: np.ndarray) -> np.ndarray:
    sound = np.zeros(N + len(stroke))
    for time in times:
        first = int(time * SAMPLE_RATE)
        sound[first : first + len(stroke)] += stroke
    return sound[:N]


def _decay(seconds: float, length: float) -> np.ndarray:
    return np.exp(-np.arange(int(length * SAMPLE_RATE)) / SAMPLE_RATE / seconds)


def _at_random(seed: int, per_second: float) -> np.ndarray:
    """Times of a Poisson process."""
    gaps = -np.log((_noise(seed, int(3 * SECONDS * per_second) + 50) + 1) / 2 + 1e-12) / per_second
    times = np.cumsum(gaps)
    return times[times < SECONDS - 0.01]


def _every(period: float, first: float = 0.0) -> np.ndarray:
    return np.arange(first, SECONDS - 0.01, period)


def _click() -> np.ndarray:
    return np.array([1.0, -1.0, 0.5])


def _burst(seed: int, seconds: float) -> np.ndarray:
    decay = _decay(seconds, 6 * seconds)
    return _noise(seed, len(decay)) * decay


def _kick() -> np.ndarray:
    time = np.arange(int(0.3 * SAMPLE_RATE)) / SAMPLE_RATE
    return np.sin(2 * np.pi * (50 * time + 100 * 0.03 * (1 - np.exp(-time / 0.03)))) * np.exp(-time / 0.1)


def _hat() -> np.ndarray:
    return np.diff(_burst(4, 0.03), prepend=0.0, n=1) * 0.4


def _dial(digits: str) -> np.ndarray:
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    sound = np.zeros(N)
    for place, digit in enumerate(digits):
        key = "123456789*0#".index(digit)
        on = (np.floor(TIME / 0.4) == place) & (TIME % 0.4 < 0.2)
        sound += on * (_sine(rows[key // 3]) + _sine(columns[key % 3]))
    return 0.4 * sound


def _morse() -> np.ndarray:
    dot = 0.06
    marks = "".join("=." if mark == "." else "===." for mark in "-.-.--.--......---.." * 8)
    on = np.repeat([mark == "=" for mark in marks], int(dot * SAMPLE_RATE))
    return 0.5 * _sine(700.0) * np.resize(on, N)


def _modem() -> np.ndarray:
    bits = np.repeat(_noise(9, int(SECONDS * 300) + 1) > 0, SAMPLE_RATE // 300)
    return 0.5 * _sine(np.where(np.resize(bits, N), 1270.0, 1070.0))


def _rain() -> np.ndarray:
    drops = _struck(_at_random(21, 120.0), _burst(22, 0.004))
    return _scaled(drops + 0.15 * _shaped(23, 0.0, 800.0))


VOWELS = ((700, 1200, 2500), (300, 2300, 3000), (500, 900, 2400), (350, 800, 2300), (550, 1800, 2500))
"""Three formants each, Hz."""


def _babble(seed: int, pitch: float) -> np.ndarray:
    """Syllables without sense: gliding pitch and formants, hissed consonants, pauses between phrases."""
    chance = (_noise(seed, 1000) + 1) / 2
    knots = np.cumsum(0.12 + 0.16 * chance[:100])  # one for each syllable
    knots = knots[knots < SECONDS]
    n = len(knots)

    def gliding(values: np.ndarray) -> np.ndarray:
        return np.interp(TIME, knots, values[:n])

    voiced = np.convolve(np.sin(np.pi * np.clip(gliding(np.arange(n)) % 1.0, 0, 1)) ** 0.7, np.ones(200) / 200, "same")
    voiced *= np.repeat(chance[300:400] > 0.15, N // 100 + 1)[:N]
    voiced *= (TIME % 2.7) < 2.2
    f0 = pitch * gliding(0.8 + 0.5 * chance[100:300])
    formants = np.array([VOWELS[int(5 * value)] for value in chance[400 : 400 + n]], dtype=float)
    sound = np.zeros(N)
    for k in range(1, int(4500 / pitch)):
        gain = sum(np.exp(-0.5 * ((k * f0 - gliding(formants[:, f])) / 120.0) ** 2) / 2.5**f for f in range(3))
        sound += (gain + 0.003) * _sine(k * f0)
    hiss = (gliding(np.arange(n)) % 1.0 < 0.25) * np.repeat(chance[500:600] > 0.5, N // 100 + 1)[:N]
    return _scaled(sound * voiced + 0.1 * np.diff(_noise(seed + 1), prepend=0.0) * hiss * ((TIME % 2.7) < 2.2))


KINDS: dict[str, str] = {}
"""Of each sound: what it is."""
SOUNDS: dict[str, Callable[[], np.ndarray]] = {}
"""Name to waveform [n], mono at 22,050 Hz, `SECONDS` long."""


def _add(kind: str, **sounds: Callable[[], np.ndarray]) -> None:
    SOUNDS.update(sounds)
    KINDS.update(dict.fromkeys(sounds, kind))


_add(
    "silence",
    digital_silence=lambda: np.zeros(N),
    last_bit=lambda: _noise(1) * 2.0**-15,
    constant=lambda: np.full(N, 0.5),
    slow_drift=lambda: 0.5 * _sine(0.2),
    constant_with_hiss=lambda: 0.3 + 3e-4 * _noise(2),
)
_add(
    "noise",
    white_noise=lambda: 0.3 * _noise(10),
    pink_noise=lambda: _shaped(11, -3.0),
    brown_noise=lambda: _shaped(12, -6.0),
    blue_noise=lambda: _shaped(13, 3.0),
    telephone_noise=lambda: _shaped(14, 0.0, 300.0, 3400.0),
    quiet_hiss=lambda: 2e-3 * _noise(15),
    clipped_noise=lambda: np.sign(_noise(16)) * 0.99,
    random_walk=lambda: _scaled(np.cumsum(_noise(17))),
    noise_bursts=lambda: 0.4 * _noise(18) * _gate(0.2, 0.5),
    trembling_noise=lambda: 0.3 * _noise(19) * (1 + np.sin(2 * np.pi * 4 * TIME)) / 2,
    rain=_rain,
    wind=lambda: _scaled(_shaped(24, -6.0) * (1.2 + _shaped(25, 0.0, 0.1, 0.5))),
    surf=lambda: _scaled(_shaped(26, -3.0) * (1.1 + np.sin(2 * np.pi * TIME / 6.0))),
    applause=lambda: _scaled(sum(_struck(_at_random(30 + k, 25.0), _burst(60 + k, 0.01)) for k in range(8))),
    crackle=lambda: _scaled(_struck(_at_random(40, 30.0), _click())) + 1e-3 * _noise(41),
    hum_and_hiss=lambda: 0.1 * _saw(50.0) + 0.1 * _noise(42),
)
_add(
    "tone",
    sine_440=lambda: 0.5 * _sine(440.0),
    sine_100=lambda: 0.5 * _sine(100.0),
    quiet_sine=lambda: 0.01 * _sine(1000.0),
    sine_10_khz=lambda: 0.5 * _sine(10_000.0),
    square_220=lambda: 0.4 * _square(220.0),
    saw_110=lambda: 0.3 * _saw(110.0),
    clipped_sine=lambda: np.clip(20 * _sine(330.0), -0.99, 0.99),
    dial_tone=lambda: 0.25 * (_sine(350.0) + _sine(440.0)),
    busy_tone=lambda: 0.25 * (_sine(480.0) + _sine(620.0)) * _gate(0.5, 1.0),
    ringing=lambda: 0.25 * (_sine(440.0) + _sine(480.0)) * _gate(2.0, 6.0),
    fax_call=lambda: 0.4 * _sine(1100.0) * _gate(0.5, 3.5),
    alarm=lambda: 0.4 * _sine(2000.0) * _gate(0.1, 0.5),
    mains_hum=lambda: 0.3 * (_sine(50.0) + 0.5 * _sine(100.0) + 0.2 * _sine(150.0)),
    horn=lambda: 0.2 * (_saw(400.0) + _saw(500.0)),
    trembling_sine=lambda: 0.5 * _sine(440.0) * (1 + np.sin(2 * np.pi * 5 * TIME)) / 2,
    morse=_morse,
    dialled=lambda: _dial("0123456789*#0123456789*#01234"),
    modem=_modem,
    siren=lambda: 0.5 * _sine(1000.0 + 500.0 * np.sin(2 * np.pi * TIME / 3.0)),
    two_tone_siren=lambda: 0.5 * _sine(np.where(TIME % 1.2 < 0.6, 440.0, 585.0)),
    sweep=lambda: 0.5 * _sine(40.0 * 2.0 ** (TIME * 7.5 / SECONDS)),
    linear_sweep=lambda: 0.5 * _sine(20.0 + 800.0 * TIME),
    chirps=lambda: 0.5 * _sine(500.0 * 2.0 ** (2 * (TIME % 0.8))),
)
_add(
    "clicks",
    one_click=lambda: _struck(np.array([6.0]), _click()),
    clicks=lambda: 0.8 * _struck(_every(1.0), _click()),
    metronome=lambda: _struck(
        _every(0.5), 0.6 * np.sin(2 * np.pi * 1000 * TIME[:1100]) * _decay(0.01, 1100 / SAMPLE_RATE)
    ),
    clock=lambda: _struck(_every(0.5), _burst(50, 0.002)) + 0.7 * _struck(_every(0.5, 0.25), _burst(51, 0.003)),
    counter=lambda: 0.8 * _struck(_at_random(52, 6.0), _click()),
)
_add(
    "drums",
    kicks=lambda: 0.8 * _struck(_every(0.5), _kick()),
    hats=lambda: _scaled(_struck(_every(0.25), _hat())),
    backbeat=lambda: _scaled(
        _struck(_every(1.0), _kick()) + _struck(_every(1.0, 0.5), _burst(3, 0.06)) + _struck(_every(0.25), _hat())
    ),
    breakbeat=lambda: _scaled(
        sum(_struck(_every(2.0, t), _kick()) for t in (0.0, 0.75, 1.25))
        + sum(_struck(_every(2.0, t), _burst(5, 0.05)) for t in (0.5, 1.5, 1.875))
        + _struck(_every(0.125), 0.5 * _hat())
    ),
)
_add("speech", babble_low=lambda: _babble(70, 110.0), babble_high=lambda: _babble(80, 200.0))


def sound(name: str) -> np.ndarray:
    """One of `SOUNDS` [shape=(n,), dtype=float32]."""
    return SOUNDS[name]().astype(np.float32)
