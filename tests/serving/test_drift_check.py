"""What ``/health`` reports about drift."""

import pytest

from ccmusic.genres import LEAVES
from ccmusic.monitoring.drift_watch import DriftOf, DriftState
from ccmusic.serving.checks import drift_check

MIX = DriftOf("mix", 1.2, True, "more", 0.4, 0.05, 120, LEAVES[8])
LEVEL = DriftOf("level", 0.3, False, "less", -30.25, -17.6, 120)


def watched(*kinds: DriftOf) -> DriftState:
    return DriftState(120, kinds)


def test_without_a_reference_the_check_passes():
    observation = drift_check(watched())
    assert (observation.status, observation.value) == ("pass", None)


def test_the_value_is_the_strongest_evidence():
    usual = DriftOf("mix", 0.6, False, "more", 0.1, 0.05, 120, LEAVES[8])
    observation = drift_check(watched(usual, LEVEL))
    assert (observation.status, observation.value) == ("pass", 0.6)


@pytest.mark.parametrize(
    ("drifted", "cause"),
    [
        (MIX, "mix: Dance pop has 40.0% over the last 120 recordings, 5.0% are expected"),
        (
            DriftOf("level", 1.0, True, "less", -30.25, -17.6, 120),
            "level: lower than expected (-30.2 dBFS on average over the last 120 recordings, -17.6 dBFS expected)",
        ),
        (
            DriftOf("bandwidth", 1.0, True, "wider", 900.0, 1385.6, 60),
            "bandwidth: more spread than expected (900 Hz on average over the last 60 recordings, 1386 Hz expected)",
        ),
        (
            DriftOf("confidence", 1.0, True, "more", 0.9, 0.52, 60),
            "confidence: higher than expected (0.90 on average over the last 60 recordings, 0.52 expected)",
        ),
    ],
)
def test_drift_is_a_warning_with_its_cause(drifted, cause):
    observation = drift_check(watched(drifted, LEVEL))
    assert (observation.status, observation.cause) == ("warn", cause)


def test_every_kind_of_drift_is_named():
    observation = drift_check(watched(MIX, DriftOf("level", 1.5, True, "more", -5.0, -17.6, 120)))
    assert observation.cause.count(";") == 1
    assert observation.value == 1.5
