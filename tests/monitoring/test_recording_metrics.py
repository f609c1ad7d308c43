import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ccmusic.errors import SLUGS
from ccmusic.genres import CCMUSIC, LABELS, roll_up, taxonomy_of
from ccmusic.inference.result import FLAGS, STAGES, ModelIdentity, TrackResult
from ccmusic.monitoring.drift_watch import Expected
from ccmusic.monitoring.recording_metrics import ABANDONED, CLIENT_LIMIT, RecordingMetrics


def read(registry) -> dict:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def result(genre: int, confidence: float, **fields) -> TrackResult:
    leaves = np.full(16, (1 - confidence) / 15)
    leaves[genre] = confidence
    defaults = {
        "model": ModelIdentity("m", "1", "a" * 64),
        "duration_seconds": 12.5,
        "probabilities": {level: roll_up(leaves, level) for level in (16, 9, 2)},
        "windows": (),
        "flags": (),
    }
    return TrackResult(**(defaults | fields))


def test_series_of_closed_sets_exist_before_the_first_event():
    registry = CollectorRegistry()
    RecordingMetrics(registry)
    found = read(registry)
    for name, labels in {
        "ccmusic_failures_total": (*SLUGS, ABANDONED, CLIENT_LIMIT),
        "ccmusic_predictions_total": LABELS,
        "ccmusic_flags_total": FLAGS,
        "ccmusic_stage_duration_seconds_count": STAGES,
    }.items():
        assert {key[1]: value for key, value in found.items() if key[0] == name} == dict.fromkeys(labels, 0)
    assert found["ccmusic_classifications_total",] == 0


def test_an_answer_is_counted():
    registry = CollectorRegistry()
    metrics = RecordingMetrics(registry)
    metrics.answered(result(3, 0.65, flags=("silence", "truncated"), timings={"queue": 0.2, "inference": 0.004}))
    found = read(registry)
    assert found["ccmusic_classifications_total",] == 1
    assert found["ccmusic_audio_seconds_total",] == 12.5
    assert {label: found["ccmusic_predictions_total", label] for label in LABELS} == dict.fromkeys(LABELS, 0) | {
        LABELS[3]: 1
    }
    assert found["ccmusic_prediction_confidence_bucket", "0.6"] == 0
    assert found["ccmusic_prediction_confidence_bucket", "0.7"] == 1
    assert {flag: found["ccmusic_flags_total", flag] for flag in FLAGS} == {
        "silence": 1,
        "too_short": 0,
        "uncertain": 0,
        "truncated": 1,
        "out_of_phase": 0,
    }
    assert found["ccmusic_stage_duration_seconds_sum", "queue"] == 0.2
    assert found["ccmusic_stage_duration_seconds_count", "inference"] == 1
    assert found["ccmusic_stage_duration_seconds_count", "decode"] == 0


def test_the_genres_are_those_of_the_model_in_use():
    registry = CollectorRegistry()
    taxonomy = own = taxonomy_of("own", ("low", "high"))
    metrics = RecordingMetrics(registry, lambda: Expected("a" * 64, taxonomy=taxonomy))
    metrics.answered(result(0, 0.5, probabilities={2: np.array([0.2, 0.8])}, taxonomy=own))

    def counts():
        return {key[1]: value for key, value in read(registry).items() if key[0] == "ccmusic_predictions_total"}

    assert counts() == {"low": 0, "high": 1}
    taxonomy = CCMUSIC  # another model serves
    assert counts() == dict.fromkeys(LABELS, 0)
    taxonomy = taxonomy_of("own", ("high", "low"))
    assert counts() == {"low": 0, "high": 1}


def test_a_failure_has_a_reason_of_the_closed_set():
    registry = CollectorRegistry()
    metrics = RecordingMetrics(registry)
    metrics.failed("overloaded")
    metrics.failed(ABANDONED)
    found = read(registry)
    assert found["ccmusic_failures_total", "overloaded"] == 1
    assert found["ccmusic_failures_total", "abandoned"] == 1
    assert found["ccmusic_classifications_total",] == 0
    with pytest.raises(ValueError, match="unknown reason: gremlins"):
        metrics.failed("gremlins")


def test_the_evidence_of_drift_has_one_series_for_each_kind_in_the_card():
    registry = CollectorRegistry()
    metrics = RecordingMetrics(registry, lambda: Expected("a" * 64, [1 / 16] * 16))
    assert not any(name == "ccmusic_drift_statistic" for name, *_ in read(registry))
    for seconds in range(20):
        metrics.answered(result(0, 1.0, duration_seconds=10.0 + seconds))
    kinds = {key[1]: value for key, value in read(registry).items() if key[0] == "ccmusic_drift_statistic"}
    assert list(kinds) == ["mix"]
    assert kinds["mix"] > 1
