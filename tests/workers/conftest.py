"""What several tests of workers share."""

import pytest

from ccmusic.workers import restart_pause, roster
from ccmusic.workers.supervisor import Supervisor
from support.stub_worker import Pool


@pytest.fixture
def make_pool(make_settings, monkeypatch):
    """Slots with stubs of their workers; there is no pause after a load or after work."""
    monkeypatch.setitem(restart_pause.MAX_PAUSE_SECONDS, "work", 0.0)
    monkeypatch.setitem(restart_pause.MAX_PAUSE_SECONDS, "a failed load", 0.0)
    monkeypatch.setattr(roster, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(roster, "TOGETHER_SECONDS", 0.0)
    pools = []

    def make(script: dict[type, object], **changes) -> Pool:
        pool = Pool(make_settings(workers=1, **({"self_test_seconds": 600.0} | changes)), script)
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.stop()


@pytest.fixture
def start(make_settings):
    """Start supervisors with real workers; they are stopped after the test."""
    started = []

    def begin(**changes) -> Supervisor:
        supervisor = Supervisor(make_settings(**changes))
        started.append(supervisor)
        supervisor.start()
        return supervisor

    yield begin
    for supervisor in started:
        supervisor.stop()
