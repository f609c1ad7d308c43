"""What a drill reads from a service; the drills themselves are in test_doctor.py."""

import pytest

from ccmusic.operations.drill import PROBES, Observation, read_observation

GREEN = dict.fromkeys(PROBES)
BODY = {
    "workers": [{"state": "idle"}, {"state": "busy"}],
    "restarts": {"total": 3, "last": {"reason": "killed", "cause": "signal 9"}},
}


def test_workers_and_restarts_are_read():
    observation = read_observation(GREEN, BODY)
    assert observation == Observation(GREEN, 3, "killed: signal 9", 2, all_up=True)
    assert observation.healthy


@pytest.mark.parametrize("state", ["starting", "failed", "retiring"])
def test_a_worker_that_does_not_work_is_not_green(state):
    assert not read_observation(GREEN, BODY | {"workers": [{"state": "idle"}, {"state": state}]}).healthy


def test_a_red_probe_is_not_green():
    assert not read_observation(GREEN | {"/health": "disk is full"}, BODY).healthy


@pytest.mark.parametrize("body", [None, [], "page", 1])
def test_another_body_is_not_green(body):
    assert not read_observation(GREEN, body).healthy


def test_changes():
    before = Observation(GREEN, 0, all_up=True)
    red = Observation(GREEN | {"/readyz": "no worker"}, 1, "killed: signal 9")
    assert before.changes_since(before) == []
    assert red.changes_since(before) == ["/readyz fails: no worker", "a worker was replaced (0 -> 1): killed: signal 9"]
    assert before.changes_since(red)[0] == "/readyz is healthy"
    unknown = Observation(GREEN)
    assert unknown.changes_since(red) == ["/readyz is healthy"]
