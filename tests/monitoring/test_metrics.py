"""What a scraper reads, with the parsers of Prometheus' own client."""

import asyncio

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from starlette.applications import Starlette

from ccmusic.health import DiskUse
from ccmusic.health.check import Check, failed, passed, result_of, warned
from ccmusic.inference.result import STAGES, ModelIdentity
from ccmusic.monitoring.metrics import Metrics, metrics_route
from ccmusic.monitoring.page_state import PageState
from ccmusic.monitoring.service_snapshot import ServiceSnapshot
from ccmusic.workers.records import RESTART_REASONS, WORKER_STATES, QueueState, SelfTestState, WorkerRecord
from ccmusic.workers.served_model import ServedModel
from ccmusic.workers.supervisor_state import SupervisorState
from support.recordings import tone, wav
from support.running_server import running_server

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def result(name, observation, *affects):
    return result_of(Check(name, lambda: None, frozenset(affects or ("health",))), observation, 0.0)


def snapshot(**fields) -> ServiceSnapshot:
    return ServiceSnapshot(**({"service": "ccmusic-database", "version": "1"} | fields))


FULL = snapshot(
    checks=(
        result("workers", failed("none is running"), "health", "readyz"),
        result("disk", warned("nearly full", code="nearly_full")),
        result("memory", passed(50.0, "percent")),
        result("gpu_memory", passed(37.5, "percent")),
    ),
    started=True,
    uptime_seconds=12.5,
    supervisor=SupervisorState(
        served=ServedModel(ModelIdentity('a"b', "1.0", "f" * 64), "onnxruntime-cpu"),
        workers=(
            WorkerRecord(0, "idle", 7, 0, 3, rss_bytes=100),
            WorkerRecord(1, "busy", 8, 2, 3, rss_bytes=50),
            WorkerRecord(2, "starting", None, 0, 0),
        ),
        restart_counts=dict.fromkeys(RESTART_REASONS, 0) | {"killed": 2},
        queue=QueueState(3, 1, 0.25),
        self_test=SelfTestState(True, 4.0, 0.05, 0.04, 6),
        n_quarantined=2,
    ),
    loop_lag_seconds=0.003,
    stopped_seconds=2.5,
    front_rss_bytes=1000,
    disk=DiskUse(25, 100),
    page=PageState("failed", "a reason", "page_failed", 4),
)


def samples(text: str, parse=parse_text) -> dict:
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def read(state: ServiceSnapshot) -> dict:
    return samples(Metrics(lambda: state).render()[0].decode())


def test_every_series_of_a_busy_service():
    found = read(FULL)
    for probe, value in {"health": 0, "readyz": 0, "livez": 1, "startupz": 1}.items():
        assert found["ccmusic_health", ("probe", probe)] == value
    for check, status in {"workers": "fail", "disk": "warn", "gpu_memory": "pass"}.items():
        for word in ("pass", "warn", "fail"):
            assert found["ccmusic_check_status", ("check", check), ("status", word)] == (word == status)
    for state in WORKER_STATES:
        assert found["ccmusic_workers", ("state", state)] == (state in ("idle", "busy", "starting"))
    for reason in RESTART_REASONS:
        assert found["ccmusic_worker_restarts_total", ("reason", reason)] == (2 if reason == "killed" else 0)
    labels = [("backend", "onnxruntime-cpu"), ("name", 'a"b'), ("sha256", "f" * 64), ("version", "1.0")]
    assert found["ccmusic_model_info", *labels] == 1
    assert found["ccmusic_process_memory_bytes", ("process", "front")] == 1000
    assert found["ccmusic_process_memory_bytes", ("process", "worker")] == 150
    assert {name: found[name,] for (name, *labels) in found if name.startswith("ccmusic_") and not labels} == {
        "ccmusic_uptime_seconds": 12.5,
        "ccmusic_event_loop_lag_seconds": 0.003,
        "ccmusic_stopped_seconds_total": 2.5,
        "ccmusic_queue_waiting": 3,
        "ccmusic_queue_running": 1,
        "ccmusic_queue_oldest_wait_seconds": 0.25,
        "ccmusic_quarantined_recordings": 2,
        "ccmusic_suspect_clients": 0,
        "ccmusic_self_test_age_seconds": 4.0,
        "ccmusic_self_test_seconds": 0.05,
        "ccmusic_self_test_failures_total": 6,
        "ccmusic_memory_used_ratio": 0.5,
        "ccmusic_gpu_memory_used_ratio": 0.375,
        "ccmusic_disk_free_bytes": 25,
        "ccmusic_disk_used_ratio": 0.75,
        "ccmusic_log_dropped_lines_total": 0,
        "ccmusic_page_failures_total": 4,
    }


def test_checks_that_do_not_pass_with_code_and_cause():
    found = {
        key[1:] for key, value in samples(Metrics(lambda: FULL).render()[0].decode()).items() if is_cause(key, value)
    }
    assert found == {
        (("cause", "none is running"), ("check", "workers"), ("code", "failed"), ("status", "fail")),
        (("cause", "nearly full"), ("check", "disk"), ("code", "nearly_full"), ("status", "warn")),
    }


def is_cause(key: tuple, value: float) -> bool:
    return key[0] == "ccmusic_check_info" and value == 1


def test_a_changed_number_in_a_cause_adds_no_series():
    now = []
    metrics = Metrics(lambda: snapshot(checks=(result("queue", now[-1]),)))

    def scraped(observation) -> list:
        now.append(observation)
        found = samples(metrics.render()[0].decode())
        return [dict(key[1:])["cause"] for key in found if key[0] == "ccmusic_check_info"]

    assert scraped(warned("waited 31 of 30 seconds")) == ["waited 31 of 30 seconds"]
    assert scraped(warned("waited 46.5 of 30 seconds")) == ["waited 31 of 30 seconds"]
    assert scraped(failed("waited 61 of 30 seconds")) == ["waited 61 of 30 seconds"]
    assert scraped(failed("lost 61 of 30 seconds")) == ["lost 61 of 30 seconds"]
    assert scraped(passed()) == []
    assert scraped(warned("waited 90 of 30 seconds")) == ["waited 90 of 30 seconds"]


def test_series_of_closed_sets_exist_before_the_first_event():
    found = read(snapshot())
    assert [found["ccmusic_workers", ("state", state)] for state in WORKER_STATES] == [0] * len(WORKER_STATES)
    restarts = [found["ccmusic_worker_restarts_total", ("reason", reason)] for reason in RESTART_REASONS]
    assert restarts == [0] * len(RESTART_REASONS)
    assert found["ccmusic_self_test_failures_total",] == 0


def test_an_unknown_value_has_no_series():
    names = {name for name, *_ in read(snapshot())}
    assert names.isdisjoint(
        {
            "ccmusic_self_test_age_seconds",
            "ccmusic_self_test_seconds",
            "ccmusic_model_info",
            "ccmusic_check_info",
            "ccmusic_disk_free_bytes",
            "ccmusic_memory_used_ratio",
            "ccmusic_gpu_memory_used_ratio",
        }
    )


def test_each_scrape_reads_one_snapshot():
    asked = []
    metrics = Metrics(lambda: asked.append(True) or FULL)
    assert asked == []
    metrics.render()
    assert len(asked) == 1
    metrics.render(OPENMETRICS)
    assert len(asked) == 2


def test_two_applications_share_no_registry():
    first, second = Metrics(lambda: FULL), Metrics(snapshot)
    assert samples(first.render()[0].decode())["ccmusic_queue_waiting",] == 3
    assert samples(second.render()[0].decode())["ccmusic_queue_waiting",] == 0


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", "text/plain; version=0.0.4", parse_text),
        ("*/*", "text/plain; version=0.0.4", parse_text),
        (f"{OPENMETRICS},text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OPENMETRICS, parse_openmetrics),
    ],
)
def test_the_route_answers_in_the_format_that_the_scraper_accepts(accept, content_type, parse):
    async def ask():
        app = Starlette(routes=[metrics_route(Metrics(lambda: FULL))])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get("/metrics", headers={"accept": accept})

    response = asyncio.run(ask())
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(content_type)
    assert response.headers.get_list("content-type") == [response.headers["content-type"]]
    found = samples(response.text, parse)
    assert found["ccmusic_queue_waiting",] == 3
    assert found["ccmusic_worker_restarts_total", ("reason", "killed")] == 2
    assert found["process_resident_memory_bytes",] > 0
    assert any(name == "python_info" for name, *_ in found)


def test_metrics_of_a_running_service(model_directory):
    limits = {"CCMUSIC_WORKERS": "1", "CCMUSIC_MAX_UPLOAD_BYTES": "100000"}
    with running_server("--no-page", CCMUSIC_MODEL=str(model_directory), **limits) as server:
        server.wait_healthy()
        fresh = samples(httpx.get(f"{server.url}/metrics").text)
        for status, sound in {200: wav(tone(440, 1.0)), 415: b"no sound at all", 413: bytes(200_000)}.items():
            assert httpx.post(f"{server.url}/v1/classify", files={"audio": sound}).status_code == status
        httpx.get(f"{server.url}/not/there")
        response = httpx.get(f"{server.url}/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    found = samples(response.text)
    assert found["ccmusic_health", ("probe", "health")] == 1
    assert sum(found["ccmusic_workers", ("state", state)] for state in ("idle", "busy", "testing")) == 1
    assert found["ccmusic_process_memory_bytes", ("process", "worker")] > 1e6
    assert [dict(labels)["name"] for name, *labels in found if name == "ccmusic_model_info"] == ["bands"]
    assert found["ccmusic_disk_free_bytes",] > 0
    for status in ("500", "503", "504", "507"):
        assert fresh[requests_to("/v1/classify", "POST", status)] == 0
    assert fresh["ccmusic_classifications_total",] == 0
    for status in ("200", "413", "415"):
        assert found[requests_to("/v1/classify", "POST", status)] == 1
    assert found[requests_to("other", "GET", "404")] == 1
    assert found[requests_to("/metrics", "GET", "200")] == 1
    assert found["ccmusic_classifications_total",] == 1
    assert found["ccmusic_audio_seconds_total",] == 1.0
    assert found["ccmusic_failures_total", ("reason", "unsupported-media")] == 1
    assert sum(value for (name, *_), value in found.items() if name == "ccmusic_predictions_total") == 1
    for stage in STAGES:
        assert found["ccmusic_stage_duration_seconds_count", ("stage", stage)] == 1


def requests_to(handler: str, method: str, status: str) -> tuple:
    return "http_requests_total", ("handler", handler), ("method", method), ("status", status)
