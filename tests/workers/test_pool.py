"""One look of the supervising loop at its workers, with stubs of their processes."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from ccmusic.models.store import locate
from ccmusic.settings import Settings
from ccmusic.workers.fork_server import ForkServer
from ccmusic.workers.pool import Pool
from ccmusic.workers.quarantine import Quarantine
from ccmusic.workers.restart_log import RestartLog
from ccmusic.workers.suspects import Culprits, SuspectClients
from support.waiting import PATIENCE_SECONDS, wait_until


class StuckProcess:
    """A worker process that is silent; its stack dump takes until `dumped` is set."""

    unusable = False
    heartbeat = SimpleNamespace(stage="inference")

    def __init__(self) -> None:
        self.dumped = threading.Event()
        self.marked: list[tuple[str, str, bool]] = []

    def silent_seconds(self, _: float) -> float:
        return 1.25

    def mark_failed(self, reason: str, cause: str, *, dump: bool = True) -> None:
        self.marked.append((reason, cause, dump))
        assert not dump or self.dumped.wait(PATIENCE_SECONDS)


@pytest.fixture
def processes():
    made = [StuckProcess() for _ in range(3)]
    yield made
    for process in made:
        process.dumped.set()


@pytest.fixture
def pool(processes) -> Pool:
    settings = Settings()
    culprits = Culprits(Quarantine(60.0), SuspectClients(3, 60.0))
    made = Pool(settings, locate(settings.model), ForkServer(), RestartLog(lambda: None), culprits, lambda: ())
    made.slots = tuple(SimpleNamespace(process=process) for process in processes)
    return made


def test_a_worker_that_writes_its_stack_dump_does_not_delay_the_watch_of_the_others(pool, processes):
    pool.watch()
    wait_until(lambda: all(process.marked for process in processes), "each is marked while the others still write")
    reason, cause, dump = processes[-1].marked[0]
    assert (reason, cause, dump) == ("heartbeat", "no heartbeat for 1.2 seconds, in stage inference", True)


def test_without_a_thread_it_is_replaced_without_a_stack_dump(pool, processes, monkeypatch):
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    pool.watch()
    assert [process.marked[0][2] for process in processes] == [False, False, False]
