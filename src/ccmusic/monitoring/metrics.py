"""Prometheus metrics: one registry in the front process, filled from one snapshot at each scrape.

Every series of a closed set exists from the first scrape on, with 0, so that no rate, ratio or alert is empty before
the first event. An unknown value has its name and description, but no series.

References
----------
https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ccmusic.health.check import PROBES, STATUSES, CheckResult
from ccmusic.process.log_output import DROPPED
from ccmusic.workers.records import RESTART_REASONS, WORKER_STATES

if TYPE_CHECKING:  # only the type is needed
    from ccmusic.monitoring.service_snapshot import ServiceSnapshot

MEMORY_CHECKS = {
    "memory": (
        "ccmusic_memory_used_ratio",
        "Share of the memory of the control group, or else of the machine, that the kernel cannot take back.",
    ),
    "gpu_memory": ("ccmusic_gpu_memory_used_ratio", "Used share of the memory of the fullest GPU."),
}
"""Checks whose value is a percentage of memory, with name and text of their metrics."""

# they would add a series with the creation time to each counter, which is not used
disable_created_metrics()  # type: ignore[no-untyped-call]

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Metrics:
    """The registry of one application.

    Parameters
    ----------
    snapshot : callable
        Returns the current state; called once at each scrape.
    """

    def __init__(self, snapshot: Callable[[], ServiceSnapshot]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_SnapshotCollector(snapshot))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Write every metric.

        Parameters
        ----------
        accept : str
            The scraper's ``Accept`` header: OpenMetrics if it requests it, else the Prometheus text format.

        Returns
        -------
        body : bytes
        content_type : str
        """
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


def metrics_route(metrics: Metrics) -> Route:
    """``GET /metrics``, for any Starlette application."""

    async def answer(request: Request) -> Response:
        body, content_type = metrics.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return Route("/metrics", answer, methods=["GET"])


class _SnapshotCollector(Collector):
    def __init__(self, snapshot: Callable[[], ServiceSnapshot]) -> None:
        self._snapshot = snapshot
        self._causes = _Causes()

    def describe(self) -> Iterator[Metric]:
        """Nothing: otherwise the registry would collect while the application is being built."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Use one snapshot, so that the metrics of a scrape are consistent."""
        snapshot = self._snapshot()
        yield from _health(snapshot)
        yield self._causes.metric(snapshot.checks)
        yield from _workers(snapshot)
        yield from _self_test(snapshot)
        yield CounterMetricFamily(
            "ccmusic_page_failures",
            "How often the page could not be started, or stopped working.",
            value=snapshot.page.failures,
        )
        yield from _resources(snapshot)


class _Causes:
    """Why checks do not pass. A cause whose numbers change keeps its series, so that there are few.

    The kept text is that of an earlier scrape; the check itself always has the latest.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, str, str]] = {}  # by check: status, code and cause

    def metric(self, checks: tuple[CheckResult, ...]) -> Metric:
        info = GaugeMetricFamily(
            "ccmusic_check_info",
            "1 for each check that does not pass, with its code and its cause.",
            labels=["check", "status", "code", "cause"],
        )
        now = {check.name: (check.status, check.code, check.cause or "") for check in checks if check.status != "pass"}
        self._kept = {name: self._stable(name, *found) for name, found in now.items()}
        for name, labels in self._kept.items():
            info.add_metric([name, *labels], 1)
        return info

    def _stable(self, name: str, status: str, code: str, cause: str) -> tuple[str, str, str]:
        before = self._kept.get(name)
        if (
            before is not None
            and before[:2] == (status, code)
            and _NUMBER.sub("#", before[2]) == _NUMBER.sub("#", cause)
        ):
            return before
        return status, code, cause


def _health(snapshot: ServiceSnapshot) -> Iterator[Metric]:
    health = GaugeMetricFamily("ccmusic_health", "1 if a probe passes, else 0.", labels=["probe"])
    for probe in PROBES:
        health.add_metric([probe], snapshot.passes(probe))
    yield health
    status = GaugeMetricFamily(
        "ccmusic_check_status", "1 for the present status of a check.", labels=["check", "status"]
    )
    for check in snapshot.checks:
        for word in STATUSES:
            status.add_metric([check.name, word], check.status == word)
    yield status
    yield _gauge("ccmusic_uptime_seconds", "Time since the start of the process.", snapshot.uptime_seconds)
    model = GaugeMetricFamily(
        "ccmusic_model_info", "1 for the model in use.", labels=["name", "version", "sha256", "backend"]
    )
    if (served := snapshot.served) is not None:
        model.add_metric([served.identity.name, served.identity.version, served.identity.sha256, served.backend], 1)
    yield model
    yield _gauge("ccmusic_event_loop_lag_seconds", "Delay of the HTTP event loop.", snapshot.loop_lag_seconds)
    yield CounterMetricFamily(
        "ccmusic_stopped_seconds",
        "Time in which the front process did not run: it was stopped, or got no processor.",
        value=snapshot.stopped_seconds,
    )


def _workers(snapshot: ServiceSnapshot) -> Iterator[Metric]:
    workers = GaugeMetricFamily("ccmusic_workers", "Worker processes by state.", labels=["state"])
    for state in WORKER_STATES:
        workers.add_metric([state], sum(worker.state == state for worker in snapshot.supervisor.workers))
    yield workers
    restarts = CounterMetricFamily("ccmusic_worker_restarts", "Workers that were replaced.", labels=["reason"])
    for reason in RESTART_REASONS:
        restarts.add_metric([reason], snapshot.supervisor.restart_counts.get(reason, 0))
    yield restarts
    queue = snapshot.supervisor.queue
    yield _gauge("ccmusic_queue_waiting", "Recordings that wait for a worker.", queue.waiting)
    yield _gauge("ccmusic_queue_running", "Recordings that a worker is processing.", queue.running)
    yield _gauge(
        "ccmusic_queue_oldest_wait_seconds",
        "Waiting time of the oldest recording in the queue.",
        queue.oldest_wait_seconds,
    )
    yield _gauge(
        "ccmusic_quarantined_recordings",
        "Recordings that are refused because two workers ended on them.",
        snapshot.supervisor.n_quarantined,
    )
    yield _gauge(
        "ccmusic_suspect_clients",
        "Clients of which several different recordings ended workers. Theirs are tried one at a time.",
        snapshot.supervisor.n_suspect_clients,
    )


def _self_test(snapshot: ServiceSnapshot) -> Iterator[Metric]:
    test = snapshot.supervisor.self_test
    yield CounterMetricFamily(
        "ccmusic_self_test_failures",
        "Self-tests with a wrong or missing answer to the golden clips.",
        value=0 if test is None else test.failures,
    )
    # before the first self-test, an age of 0 would be wrong
    age, seconds = (None, None) if test is None else (test.age_seconds, test.seconds)
    yield _gauge("ccmusic_self_test_age_seconds", "Time since the last self-test with the golden clips.", age)
    yield _gauge("ccmusic_self_test_seconds", "Duration of the last self-test.", seconds)


def _resources(snapshot: ServiceSnapshot) -> Iterator[Metric]:
    memory = GaugeMetricFamily(
        "ccmusic_process_memory_bytes",
        "Resident memory of the front process, and of all workers together.",
        labels=["process"],
    )
    if snapshot.front_rss_bytes is not None:
        memory.add_metric(["front"], snapshot.front_rss_bytes)
    memory.add_metric(["worker"], sum(worker.rss_bytes or 0 for worker in snapshot.supervisor.workers))
    yield memory
    values = {check.name: check.value for check in snapshot.checks}
    for name, (metric, text) in MEMORY_CHECKS.items():
        percent = values.get(name)
        yield _gauge(metric, text, percent / 100 if isinstance(percent, int | float) else None)
    free, share = (None, None) if snapshot.disk is None else (snapshot.disk.free_bytes, snapshot.disk.share)
    yield _gauge("ccmusic_disk_free_bytes", "Free space on the file system of temporary files.", free)
    yield CounterMetricFamily(
        "ccmusic_log_dropped_lines",
        "Lines of the log that were lost because its reader took none.",
        value=DROPPED.total,
    )
    yield _gauge("ccmusic_disk_used_ratio", "Used share of the file system of temporary files.", share)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    """One series, or none if the value is unknown."""
    return GaugeMetricFamily(name, text, value=value)
