"""What became of the recordings, whichever face they came through: answers, failures, stages, genres, confidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ccmusic.errors import SLUGS
from ccmusic.genres import LABELS
from ccmusic.inference.result import FLAGS, STAGES, TrackResult
from ccmusic.monitoring.drift import RECORDINGS, GenreMix

ABANDONED = "abandoned"
"""The caller left before the answer."""
FAILURES = (*SLUGS, ABANDONED)
"""The closed set of reasons why a recording was not answered."""

STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Seconds."""
CONFIDENCE_BUCKETS = tuple(tenth / 10 for tenth in range(1, 11))


class RecordingMetrics:
    """Counts that the service keeps as it answers.

    Parameters
    ----------
    registry : CollectorRegistry
    reference_mix : callable
        What the model in use expects of the mean probabilities; None when it says nothing.
    """

    def __init__(
        self, registry: CollectorRegistry, reference_mix: Callable[[], Sequence[float] | None] = lambda: None
    ) -> None:
        self._answers = Counter(
            "ccmusic_classifications", "Recordings answered, over API, page and inference protocol.", registry=registry
        )
        self._failures = Counter(
            "ccmusic_failures", "Recordings not answered, by reason.", ["reason"], registry=registry
        )
        self._stages = Histogram(
            "ccmusic_stage_duration_seconds",
            "How long the stages of an answered recording took.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self._predictions = Counter(
            "ccmusic_predictions", "Recordings by their likeliest genre.", ["genre"], registry=registry
        )
        self._confidence = Histogram(
            "ccmusic_prediction_confidence",
            "Probability of the likeliest genre.",
            buckets=CONFIDENCE_BUCKETS,
            registry=registry,
        )
        self._flags = Counter("ccmusic_flags", "Answers that carry a flag.", ["flag"], registry=registry)
        self._seconds = Counter("ccmusic_audio_seconds", "Seconds of sound listened to.", registry=registry)
        self._mix = GenreMix()
        registry.register(_Drift(self._mix, reference_mix))
        # there from the first scrape on: a rate of nothing is 0, not absent
        for children, names in (
            (self._failures, FAILURES),
            (self._stages, STAGES),
            (self._predictions, LABELS),
            (self._flags, FLAGS),
        ):
            for name in names:
                children.labels(name)

    def answered(self, result: TrackResult) -> None:
        """Note one answer."""
        best = result.predictions(16, 1)[0]
        self._answers.inc()
        self._seconds.inc(result.duration_seconds)
        self._predictions.labels(best.genre).inc()
        self._confidence.observe(best.probability)
        for stage, seconds in result.timings.items():
            self._stages.labels(stage).observe(seconds)
        for flag in result.flags:
            self._flags.labels(flag).inc()
        self._mix.note(result.model.sha256, result.probabilities[16])

    def failed(self, reason: str) -> None:
        """Note one recording without an answer; the reason is one of `FAILURES`."""
        if reason not in FAILURES:
            raise ValueError(f"no such reason: {reason}")
        self._failures.labels(reason).inc()


class _Drift(Collector):
    def __init__(self, mix: GenreMix, reference_mix: Callable[[], Sequence[float] | None]) -> None:
        self._mix = mix
        self._reference_mix = reference_mix

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry would otherwise collect while the application is still being built."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """One series, or none while there is no score: 0 would say that all is as expected."""
        words = (
            f"Jensen-Shannon divergence, in bits, of the mean probabilities of the last {RECORDINGS} recordings "
            "from what the model's card expects."
        )
        yield GaugeMetricFamily("ccmusic_drift_score", words, value=self._mix.score(self._reference_mix()))
