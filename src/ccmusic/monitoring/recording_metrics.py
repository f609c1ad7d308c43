"""Metrics of recordings over every interface: answers, failures, stages, genres, confidence, drift."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ccmusic.errors import SLUGS
from ccmusic.genres import LABELS
from ccmusic.inference.result import FLAGS, STAGES, TrackResult
from ccmusic.monitoring.drift_watch import DRIFT_KINDS, DriftWatch, Expected

ABANDONED = "abandoned"
"""The client disconnected before the answer."""
CLIENT_LIMIT = "client-limit"
"""Reason of a recording that was refused because of what its client sends; the service was not overloaded."""

FAILURES = (*SLUGS, ABANDONED, CLIENT_LIMIT)
"""The closed set of reasons why a recording was not answered."""

STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds in seconds."""
CONFIDENCE_BUCKETS = tuple(tenth / 10 for tenth in range(1, 11))


class RecordingMetrics:
    """Metrics that the service updates with each answer or failure.

    Parameters
    ----------
    registry : CollectorRegistry
    expected : callable
        Returns the expected values of the model in use; None before there is a model.
    false_alarm_recordings : int
        See `DriftWatch`.

    Attributes
    ----------
    drift : DriftWatch
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        expected: Callable[[], Expected | None] = lambda: None,
        false_alarm_recordings: int = 10_000,
    ) -> None:
        self._answers = Counter(
            "ccmusic_classifications", "Recordings answered, over API, page and inference protocol.", registry=registry
        )
        self._failures = Counter(
            "ccmusic_failures", "Recordings not answered, by reason.", ["reason"], registry=registry
        )
        self._stages = Histogram(
            "ccmusic_stage_duration_seconds",
            "Durations of the stages of an answered recording.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self._predictions = _Predictions(lambda: _labels(expected()))
        registry.register(self._predictions)
        self._confidence = Histogram(
            "ccmusic_prediction_confidence",
            "Probability of the likeliest genre.",
            buckets=CONFIDENCE_BUCKETS,
            registry=registry,
        )
        self._flags = Counter("ccmusic_flags", "Answers that have a flag.", ["flag"], registry=registry)
        self._seconds = Counter("ccmusic_audio_seconds", "Seconds of audio analysed.", registry=registry)
        self.drift = DriftWatch(expected, false_alarm_recordings)
        registry.register(_Drift(self.drift))
        # exist from the first scrape on: a rate without events is 0, not absent
        for children, names in (
            (self._failures, FAILURES),
            (self._stages, STAGES),
            (self._flags, FLAGS),
        ):
            for name in names:
                children.labels(name)

    def answered(self, result: TrackResult) -> None:
        """Count one answer."""
        best = result.predictions(None, 1)[0]
        self._answers.inc()
        self._seconds.inc(result.duration_seconds)
        self._predictions.note(best.genre)
        self._confidence.observe(best.probability)
        for stage, seconds in result.timings.items():
            self._stages.labels(stage).observe(seconds)
        for flag in result.flags:
            self._flags.labels(flag).inc()
        self.drift.note(result)

    def failed(self, reason: str) -> None:
        """Count one recording without an answer; the reason is one of `FAILURES`."""
        if reason not in FAILURES:
            raise ValueError(f"unknown reason: {reason}")
        self._failures.labels(reason).inc()


def _labels(expected: Expected | None) -> Sequence[str]:
    return LABELS if expected is None else expected.taxonomy.labels


class _Predictions(Collector):
    """A counter whose series are the genres of the model in use at the scrape."""

    def __init__(self, labels: Callable[[], Sequence[str]]) -> None:
        self._labels = labels
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def note(self, genre: str) -> None:
        with self._lock:
            self._counts[genre] = self._counts.get(genre, 0) + 1

    def describe(self) -> Iterator[Metric]:
        """Nothing: otherwise the registry would collect while the application is being built."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Every genre of the model in use has a series, from the first scrape on; others have none."""
        family = CounterMetricFamily("ccmusic_predictions", "Recordings by their likeliest genre.", labels=["genre"])
        with self._lock:
            counts = {label: self._counts.get(label, 0) for label in self._labels()}
        for label, n in counts.items():
            family.add_metric([label], n)
        yield family


class _Drift(Collector):
    def __init__(self, watch: DriftWatch) -> None:
        self._watch = watch

    def describe(self) -> Iterator[Metric]:
        """Nothing: otherwise the registry would collect while the application is being built."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """One series for each kind that the card describes."""
        statistic = GaugeMetricFamily(
            "ccmusic_drift_statistic",
            "Evidence that the recordings differ from those that the model's card describes, on a logarithmic scale; "
            f"the check `drift` warns at 1. By what has changed: {', '.join(DRIFT_KINDS)}.",
            labels=["kind"],
        )
        for kind in self._watch.state().kinds:
            statistic.add_metric([kind.kind], kind.statistic)
        yield statistic
