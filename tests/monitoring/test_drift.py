import math

import numpy as np
import pytest

from ccmusic.monitoring.drift import GenreMix, jensen_shannon

EVEN = np.full(4, 0.25)
ONE = np.eye(4)[0]


@pytest.mark.parametrize(
    ("reference", "estimated", "bits"),
    [
        (EVEN, EVEN, 0.0),
        (np.eye(4)[0], np.eye(4)[1], 1.0),
        # by hand: M = (5/8, 1/8, 1/8, 1/8); half of D(even|M) and D(one|M)
        (EVEN, ONE, (0.25 * math.log2(0.4) + 0.75 * math.log2(2) + math.log2(1.6)) / 2),
    ],
)
def test_the_divergence_in_bits(reference, estimated, bits):
    assert jensen_shannon(reference, estimated) == pytest.approx(bits, abs=1e-12)
    assert jensen_shannon(estimated, reference) == pytest.approx(bits, abs=1e-12)


def test_no_score_before_enough_recordings_or_without_a_reference():
    mix = GenreMix(recordings=3)
    for _ in range(2):
        mix.note("a", EVEN)
    assert mix.score(EVEN) is None
    mix.note("a", EVEN)
    assert mix.score(EVEN) == 0.0
    assert mix.score(None) is None


def test_the_score_follows_the_last_recordings():
    mix = GenreMix(recordings=4)
    for label in range(4):
        mix.note("a", np.eye(4)[label])
    assert mix.score(EVEN) == pytest.approx(0.0, abs=1e-12)
    for _ in range(4):
        mix.note("a", ONE)
    assert mix.score(EVEN) == pytest.approx(jensen_shannon(EVEN, ONE))


def test_another_model_begins_anew():
    mix = GenreMix(recordings=2)
    mix.note("a", ONE)
    mix.note("a", ONE)
    mix.note("b", EVEN)
    assert mix.score(EVEN) is None
    mix.note("b", EVEN)
    assert mix.score(EVEN) == 0.0


def test_a_reference_that_was_rounded_counts_as_shares():
    mix = GenreMix(recordings=1)
    mix.note("a", EVEN)
    assert mix.score([0.2501] * 4) == pytest.approx(0.0, abs=1e-9)
