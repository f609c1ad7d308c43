import numpy as np
import pytest

from ccmusic.monitoring.evidence import CEILING, STAKES, Evidence

NONE = np.zeros(1)


def test_the_first_recording_matches_the_formula():
    evidence = Evidence(np.array([0.25]), NONE, 1e6)
    evidence.note(np.array([1.0]))
    # larger: 1 + stake * 3; smaller: 1 - stake * (3/4) / (3/4)
    assert evidence.total == pytest.approx(np.mean([*(1 + 3 * STAKES), *(1 - STAKES)]))


def test_no_bet_gains_on_average_for_any_distribution():
    values, shares = np.array([0.0, 0.1, 0.9]), np.array([0.5, 0.3, 0.2])
    mean = np.array([float(values @ shares)])
    totals = []
    for value in values:
        evidence = Evidence(mean, NONE, 1e6)
        evidence.note(np.array([value]))
        totals.append(evidence.total)
    assert float(np.array(totals) @ shares) == pytest.approx(1.0)


def test_the_stated_rate_of_false_alarms_holds_for_values_that_are_0_or_1():
    limit, recordings, replays = 500.0, 100, 400
    generator = np.random.default_rng(8)
    alarms = 0
    for _ in range(replays):
        evidence = Evidence(np.array([0.1, 0.5]), np.zeros(2), limit)
        for values in generator.random((recordings, 2)) < (0.1, 0.5):
            evidence.note(values.astype(float))
            if evidence.reached:
                alarms += 1
                break
    assert alarms / replays <= recordings / limit


def test_a_shift_is_found_and_named_on_either_side():
    for shifted, larger in ((0.9, True), (0.1, False)):
        evidence = Evidence(np.array([0.5, 0.5]), np.full(2, 0.05), 1e4)
        count = 0
        while not evidence.reached:
            evidence.note(np.array([0.5, shifted]))
            count += 1
        assert count < 60
        assert evidence.strongest == (1, larger)


def test_a_shift_within_the_tolerance_is_not_evidence():
    evidence = Evidence(np.array([0.5]), np.array([0.1]), 1000.0)
    for _ in range(5000):
        evidence.note(np.array([0.59]))
    assert not evidence.reached


def test_it_recovers_only_after_the_cause_has_ended():
    evidence = Evidence(np.array([0.5]), np.array([0.05]), 1e4)
    for _ in range(5000):
        evidence.note(np.array([0.95]))
    assert evidence.total == pytest.approx(CEILING * 1e4)
    evidence.note(np.array([0.5]))
    assert evidence.reached
    for _ in range(400):
        evidence.note(np.array([0.5]))
    assert not evidence.reached
