import json
import time
from pathlib import Path

import pytest

from ccmusic.health import HealthSnapshot, health_json, plain, verbose
from ccmusic.health.check import CheckResult

AT = 1_700_000_000.5
BOTH = frozenset({"health", "readyz"})


def result(name, status="pass", cause=None, value=None, unit=None, affects=BOTH, **more):
    return CheckResult(name, affects, status, cause, value, unit, component=name, observed_at=AT, **more)


WELL = HealthSnapshot(
    service="app",
    version="1.2.3",
    checks=(result("model", value="ready"), result("queue", value=0.25, unit="s", measurement="age")),
    started=True,
    uptime_seconds=5.12345,
    details={"model": {"name": "m"}, "status": "a lie"},
)
ILL = HealthSnapshot(
    service="app",
    version="1.2.3",
    model_status="ready",
    checks=(
        result("drift", "warn", "one genre only", affects=frozenset({"health"})),
        result("disk", "fail", "no space left", affects=frozenset({"health"})),
        result("workers", "fail", "none is running", 0, "workers", output="line 1\nline 2"),
    ),
    started=True,
    uptime_seconds=5.0,
)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: AT)


def test_plain_json_of_a_healthy_service():
    assert plain(WELL) == {
        "status": "ok",
        "timestamp": 1_700_000_000,
        "service": "app",
        "version": "1.2.3",
        "model_status": "ready",
        "uptime_seconds": 5.123,
        "checks": {
            "model": {"status": "pass", "value": "ready"},
            "queue": {"status": "pass", "value": 0.25, "unit": "s"},
        },
        "model": {"name": "m"},
    }
    assert next(iter(plain(WELL))) == "status"


def test_plain_json_of_a_failing_service():
    body = plain(ILL)
    assert body["status"] == "error"
    assert body["message"] == "Health check failed: disk: no space left"
    assert body["warnings"] == ["drift: one genre only"]
    assert body["checks"]["workers"] == {"status": "fail", "cause": "none is running", "value": 0, "unit": "workers"}


def test_plain_json_of_another_probe_lists_its_checks():
    body = plain(ILL, "readyz")
    assert body["message"] == "Health check failed: workers: none is running"
    assert list(body["checks"]) == ["workers"]
    assert "warnings" not in body
    assert "message" not in plain(ILL, "livez")
    assert plain(ILL, "livez")["status"] == "ok"


def test_health_json_equals_the_golden_file():
    golden = json.loads(Path(__file__).with_name("health_json.json").read_text(encoding="utf-8"))
    assert {"well": health_json(WELL), "ill": health_json(ILL), "ready": health_json(WELL, "readyz")} == golden


def test_health_json_warns_while_the_probe_passes():
    body = health_json(ILL, "livez")
    assert body["status"] == "warn"
    assert body["output"] == "drift: one genre only; disk: no space left; workers: none is running"


def test_two_checks_may_share_a_key():
    twice = HealthSnapshot(service="a", version="1", checks=(result("disk"), result("disk")))
    assert len(health_json(twice)["checks"]["disk:status"]) == 2


def test_verbose():
    assert verbose(WELL, "readyz") == "[+]model ok\n[+]queue ok\nreadyz check passed\n"
    assert verbose(ILL, "health") == (
        "[!]drift: one genre only\n[-]disk: no space left\n[-]workers: none is running\n    line 1\n    line 2\n"
        "health check failed\n"
    )
    assert verbose(ILL, "livez") == "livez check passed\n"


def test_verbose_reports_an_incomplete_start():
    waiting = HealthSnapshot(service="a", version="1", checks=())
    assert verbose(waiting, "startupz") == (
        "[-]startup: not every check has been observed yet\nstartupz check failed\n"
    )


def test_verbose_does_not_undo_a_start():
    later = HealthSnapshot(
        service="a", version="1", started=True, checks=(result("x", "fail", "c", affects=frozenset({"startupz"})),)
    )
    assert verbose(later, "startupz") == "[!]x: c\nstartupz check passed\n"
