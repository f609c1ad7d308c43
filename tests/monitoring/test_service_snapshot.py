"""How the health of the service reads the supervisor."""

from __future__ import annotations

from itertools import count

import pytest

from ccmusic.health import Check, passed
from ccmusic.inference.result import ModelIdentity
from ccmusic.monitoring.drift_watch import DriftState
from ccmusic.monitoring.service_snapshot import ServiceHealth
from ccmusic.workers.records import Restart, SelfTestState, StackDump, WorkerRecord
from ccmusic.workers.served_model import ServedModel
from ccmusic.workers.supervisor_state import SupervisorState

MODEL = ModelIdentity("bands", "0.0.1", "0" * 64)


def test_one_sampling_reads_the_supervisor_once():
    """While a model is swapped, each reading has another model: no two parts of a snapshot may disagree."""
    numbers = count()
    seen = []

    def read() -> SupervisorState:
        name = f"model {next(numbers)}"
        served = ServedModel(ModelIdentity(name, "1", "0" * 64), "onnxruntime-cpu")
        return SupervisorState(served=served, workers=(WorkerRecord(0, "idle", 1, 0, 0),), stack_dumps=())

    def look() -> object:
        seen.append(health.state.served.identity.name)
        return passed()

    health = ServiceHealth()
    health.watch(read, lambda: 0.0, lambda: None, DriftState)
    for name in ("first", "second"):
        health.add(Check(name, look))
    health.start()
    snapshot = health.snapshot()
    health.stop()
    samplings = list(zip(seen[::2], seen[1::2], strict=False))  # on a slow machine there is more than one
    assert all(first == second for first, second in samplings)
    assert snapshot.served.identity.name == snapshot.details["model"]["name"]
    assert snapshot.served.identity.name in seen
    assert snapshot.model_status == "ready"


def test_no_check_of_the_supervisor_passes_if_it_cannot_be_read():
    def read() -> SupervisorState:
        raise RuntimeError("the supervisor is broken")

    health = ServiceHealth()
    health.watch(SupervisorState, lambda: 0.0, lambda: None, DriftState)
    health.add(Check("supervisor", lambda: passed(health.state.loop_age_seconds), frozenset({"livez"})))
    health.begin_sampling()
    assert health.state.loop_age_seconds == 0.0
    health.watch(read, lambda: 0.0, lambda: None, DriftState)
    for use in (health.begin_sampling, lambda: health.state):
        with pytest.raises(RuntimeError, match="broken"):
            use()


def test_the_details_of_health():
    dump = StackDump(3, 0, 7, "deadline", "a job took longer than 1 seconds", "Thread 1")
    state = SupervisorState(
        served=ServedModel(MODEL, "onnxruntime-cpu"),
        workers=(WorkerRecord(0, "idle", 7, 1, 2),),
        restart_counts={"killed": 0, "deadline": 1},
        restarts=(Restart(0, "deadline", "a job took longer than 1 seconds", 5.0),),
        stack_dumps=(dump,),
        self_test=SelfTestState(True, 1.23456, 0.02, 0.02, 0),
        n_quarantined=1,
    )
    health = ServiceHealth()
    health.watch(lambda: state, lambda: 0.0, lambda: None, DriftState)
    details = health.make_snapshot(service="s", version="1").details
    assert details["model"] == {"name": "bands", "version": "0.0.1", "sha256": "0" * 64}
    assert details["workers"][0]["jobs"] == 2
    assert details["restarts"] == {
        "total": 1,
        "by_reason": {"deadline": 1},
        "last": {"worker": 0, "reason": "deadline", "cause": "a job took longer than 1 seconds"},
    }
    assert details["queue"] == {"waiting": 0, "running": 0, "oldest_wait_seconds": 0.0}
    assert details["self_test"]["age_seconds"] == 1.2346
    assert details["quarantined"] == 1
    assert details["stack_dumps"] == [
        {"id": 3, "worker": 0, "pid": 7, "reason": "deadline", "href": "/debug/stack-dumps/3"}
    ]


def test_before_a_model_is_verified_the_details_have_none():
    health = ServiceHealth()
    assert "model" not in health.make_snapshot(service="s", version="1").details
