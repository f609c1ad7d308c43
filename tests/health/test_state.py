import time

import pytest

from ccmusic import __version__
from ccmusic.health import state
from ccmusic.health.state import Health
from ccmusic.inference.result import ModelIdentity
from ccmusic.workers.supervisor import WorkerRecord


class StubSupervisor:
    def __init__(self, model_status="ready", state="idle", load_error=None):
        self.model_status = model_status
        self.workers = (WorkerRecord(0, state, 1, 0, 0, load_error),)
        self.load_error = load_error
        self.model = ModelIdentity("bands", "1", "0" * 64) if model_status == "ready" else None


def sample(supervisor, missing=lambda: None):
    health = Health(supervisor, missing, time.monotonic() - 5)
    health.start()
    health.stop()
    return health.snapshot()


def test_healthy():
    snapshot = sample(StubSupervisor())
    assert snapshot.healthy
    body = snapshot.as_json()
    assert "message" not in body
    assert body | {"timestamp": 0, "uptime_seconds": 0} == {
        "status": "ok",
        "timestamp": 0,
        "service": "ccmusic-database",
        "version": __version__,
        "model_status": "ready",
        "uptime_seconds": 0,
        "model": {"name": "bands", "version": "1", "sha256": "0" * 64},
    }
    assert abs(body["timestamp"] - time.time()) < 5
    assert isinstance(body["timestamp"], int)
    assert 5 <= body["uptime_seconds"] < 60


@pytest.mark.parametrize(
    ("supervisor", "missing", "message"),
    [
        (StubSupervisor("loading", "starting"), None, "Model is still loading..."),
        (StubSupervisor("error", "failed", "bad hash"), None, "Model loading failed: bad hash"),
        (StubSupervisor("error", "failed", "x"), "./m/save.pt", "Model file not found: ./m/save.pt"),
        (StubSupervisor("ready", "idle"), "./m/save.pt", "Model file not found: ./m/save.pt"),
        (StubSupervisor("ready", "starting"), None, "Health check failed: workers: none is running"),
    ],
)
def test_each_condition_has_the_contracts_words(supervisor, missing, message):
    snapshot = sample(supervisor, lambda: missing)
    assert not snapshot.healthy
    assert snapshot.as_json()["status"] == "error"
    assert snapshot.as_json()["message"].startswith(message)
    assert snapshot.as_json()["model_status"] == supervisor.model_status


def test_a_check_that_raises_has_not_passed():
    def raises():
        raise RuntimeError("no such thing")

    assert sample(StubSupervisor(), raises).message == "Health check failed: no such thing"


def test_sampling_that_stopped_is_not_believed(monkeypatch):
    monkeypatch.setattr(state, "STALE_SECONDS", -1.0)
    assert sample(StubSupervisor()).message.startswith("Health check failed: sampling: no sample for")
