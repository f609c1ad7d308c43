"""A precision is measured on the given windows; the fastest network that agrees is chosen."""

import numpy as np
import pytest

from ccmusic.checkpoints import precision
from ccmusic.checkpoints.precision import choose, measure
from ccmusic.errors import InvalidParameter
from ccmusic.models.card_parts import Agreement, GoldenClip, Network


class Scripted:
    """A network whose logits are the row of a table that the window's number names; it records its batch sizes."""

    def __init__(self, table, clock=None, seconds=0.0):
        self.table = np.asarray(table, np.float32)
        self.sizes = []
        self.clock, self.seconds = clock, seconds

    def logits(self, windows):
        self.sizes.append(len(windows))
        if self.clock is not None:
            self.clock.now += self.seconds
        return self.table[windows.astype(int).ravel()]


class Clock:
    now = 0.0

    def perf_counter(self):
        return self.now


def windows(n):
    return np.arange(n, dtype=np.float32)[:, None]


def network(name, agreement=None, runtime="onnxruntime"):
    golden = (GoldenClip(signal="chords", seconds=1.0, logits=(0.0, 0.0)),)
    return Network(
        precision=name, runtime=runtime, file=f"{name}.onnx", sha256="0" * 64, golden=golden, agreement=agreement
    )


def agreement(top1=1.0, milliseconds=50.0, milliseconds_float32=100.0, n=precision.MIN_WINDOWS):
    return Agreement(
        windows=n,
        top1=top1,
        mean_probability_shift=0.0,
        max_logit_error=0.0,
        milliseconds=milliseconds,
        milliseconds_float32=milliseconds_float32,
    )


def test_agreement_is_computed_over_all_windows():
    log = np.log
    reference = Scripted([[log(3), 0], [0, log(3)], [log(3), 0], [log(3), 0]])
    candidate = Scripted([[log(3), 0], [log(3), 0], [log(9) + 1, 1], [log(3), 0]])
    measured = measure(reference, candidate, windows(4), threads=2)
    assert (measured.windows, measured.threads) == (4, 2)
    assert measured.top1 == 0.75
    # 3/4 against 1/4 in the second window, 3/4 against 9/10 in the third: each counts for both classes
    assert measured.mean_probability_shift == pytest.approx((0.5 + 0.15) / 4, abs=1e-6)
    assert measured.max_logit_error == pytest.approx(log(3) + 1, abs=1e-6)


def test_large_logits_do_not_overflow():
    far = Scripted([[1000.0, 0.0]])
    assert measure(far, far, windows(1), threads=1).mean_probability_shift == 0


def test_times_are_medians_of_single_windows_in_alternation(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(precision, "time", clock)
    reference, candidate = Scripted(np.eye(20), clock, 0.2), Scripted(np.eye(20), clock, 0.05)
    measured = measure(reference, candidate, windows(20), threads=1)
    assert measured.milliseconds_float32 == pytest.approx(200)
    assert measured.milliseconds == pytest.approx(50)
    assert reference.sizes == candidate.sizes == [4] * 5 + [1] * (precision.TIMED_ROUNDS + 1)


def test_one_slow_round_does_not_change_the_time(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(precision, "time", clock)

    class SlowOnce(Scripted):
        def logits(self, batch):
            self.clock.now += 100 if len(self.sizes) == 5 else 0
            return super().logits(batch)

    reference, candidate = Scripted(np.eye(2), clock, 0.2), SlowOnce(np.eye(2), clock, 0.05)
    assert measure(reference, candidate, windows(2), threads=1).milliseconds == pytest.approx(50)


def test_the_first_single_window_is_not_timed(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(precision, "time", clock)
    monkeypatch.setattr(precision, "TIMED_ROUNDS", 1)  # it would change the median of two

    class Allocating(Scripted):
        def logits(self, batch):
            self.clock.now += 100 if len(self.sizes) == 1 else 0
            return super().logits(batch)

    reference, candidate = Scripted(np.eye(2), clock, 0.2), Allocating(np.eye(2), clock, 0.05)
    assert measure(reference, candidate, windows(2), threads=1).milliseconds == pytest.approx(50)


def test_an_empty_array_of_windows_is_refused():
    with pytest.raises(InvalidParameter, match="windows must hold at least one"):
        measure(Scripted([[0, 1]]), Scripted([[0, 1]]), windows(0), threads=1)


def test_the_fastest_that_agrees_on_99_percent_is_chosen():
    exact = network("float32")
    bfloat16, int8 = network("bfloat16", agreement(milliseconds=60), "openvino"), network("int8", agreement(0.99))
    assert choose([exact, bfloat16, int8]) is int8
    assert choose([exact, bfloat16, network("int8", agreement(0.9899))]) is bfloat16


def test_float32_is_chosen_if_no_other_is_faster_and_agrees():
    exact = network("float32")
    assert choose([exact]) is exact
    assert choose([exact, network("int8", agreement(milliseconds=100.0))]) is exact
    assert choose([exact, network("int8", agreement(0.98, 1.0))]) is exact


def test_a_comparison_on_too_few_windows_does_not_count():
    exact = network("float32")
    assert choose([exact, network("int8", agreement(n=precision.MIN_WINDOWS - 1))]) is exact


def test_speed_is_relative_to_float32_in_the_same_measurement():
    # one was measured on an idle machine, the other on a busy one
    idle = network("int8", agreement(milliseconds=60, milliseconds_float32=100))
    busy = network("bfloat16", agreement(milliseconds=80, milliseconds_float32=200), "openvino")
    assert choose([network("float32"), idle, busy]) is busy


def test_of_equally_fast_networks_the_one_that_agrees_better_or_comes_first_is_chosen():
    exact = network("float32")
    worse, better = network("int8", agreement(0.99)), network("bfloat16", agreement(1.0), "openvino")
    assert choose([exact, worse, better]) is better
    alike = network("int8", agreement(1.0))
    assert choose([exact, alike, better]) is alike


def test_exactly_one_network_must_be_in_float32():
    for networks in ([], [network("int8", agreement())], [network("float32"), network("int8")]):
        with pytest.raises(InvalidParameter, match="must hold one network in float32"):
            choose(networks)
