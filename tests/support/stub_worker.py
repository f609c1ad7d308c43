"""A stub of a worker process, and one slot that uses it."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future
from types import SimpleNamespace

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import EmptyAudio
from ccmusic.health.clock import CLOCK
from ccmusic.inference.result import ModelIdentity
from ccmusic.models.store import locate
from ccmusic.workers.channel import Job, Ready, SelfTested
from ccmusic.workers.job_queue import JobQueue, Ticket
from ccmusic.workers.quarantine import Quarantine
from ccmusic.workers.restart_log import RestartLog
from ccmusic.workers.roster import Roster
from ccmusic.workers.served_model import ServedModel
from ccmusic.workers.suspects import Culprits, SuspectClients
from ccmusic.workers.worker_slot import WorkerSlot
from support.waiting import PATIENCE_SECONDS

READY = Ready(ServedModel(ModelIdentity("bands", "0.0.1", "0" * 64), "onnxruntime-cpu"), 0.01)
CRASH = "crash"
HANG = "hang"
ENDED = EmptyAudio("an answer")
"""Any answer of the pipeline; an error about the recording is an answer too."""


class StubProcess:
    """Answers orders as `script` says: a reply, `CRASH` or `HANG`; self-tests pass unless the script has `SelfTest`."""

    pid = 7
    own_bytes = 100
    grows_bytes = 0
    dump = None
    has_begun = True

    def __init__(self, script: dict[type, object], on_failed) -> None:
        self.connection, self._other_end = multiprocessing.Pipe()
        self.heartbeat = SimpleNamespace(stage="inference", busy_since=lambda moment: self.has_begun)
        self.failure = None
        self.lost = False
        self.end_noted = False
        self.loading = True
        self._script = script
        self._on_failed = on_failed

    @property
    def unusable(self) -> bool:
        return self.lost or self.failure is not None

    def receive_loaded(self, limit_seconds: float, closing):
        return self._reply(self._script.get(Ready, READY))

    def request(self, order, timeout_seconds: float):
        return self._reply(self._script.get(type(order), SelfTested(0.01)))

    check = request

    def _reply(self, reply):
        if isinstance(reply, list):
            reply = reply.pop(0)
        self.own_bytes += self.grows_bytes
        if reply is HANG:
            raise TimeoutError
        if reply is CRASH:
            self.lost = True
            raise EOFError
        return reply

    def mark_failed(self, reason, cause, *, dump=True) -> None:
        if self.failure is None:
            self.failure = (reason, cause)
            self._on_failed(reason, cause)

    def exit_cause(self):
        return self.failure or ("crashed", "ended by SIGSEGV")

    def close(self) -> None:
        self.connection.close()
        self._other_end.close()


class Pool:
    """One slot with what it needs; every process it starts follows the same script."""

    def __init__(self, settings, script: dict[type, object]) -> None:
        self.roster = Roster(settings, locate(settings.model), RestartLog(lambda: None))
        self.queue = JobQueue(settings.max_wait_seconds)
        self.quarantine = Quarantine(600.0)
        self.clients = SuspectClients(2, 600.0)
        self.slot = WorkerSlot(
            0,
            self.roster,
            self.queue,
            Culprits(self.quarantine, self.clients),
            lambda on_failed: StubProcess(script, on_failed),
        )
        self.slot.start()

    def submit(self, name: bytes = b"song") -> Ticket:
        now = CLOCK.now()
        ticket = Ticket(Job(name, WindowPlan(), False, client="client"), Future(), now, now + 60.0)
        self.queue.put(ticket)
        return ticket

    def error_of(self, ticket: Ticket) -> BaseException | None:
        return ticket.future.exception(PATIENCE_SECONDS)

    def restarts(self) -> list[str]:
        return [restart.reason for restart in self.roster.restart_log.read()[1]]

    def caused(self) -> list[tuple[str, bool]]:
        """The reason of each restart, and whether a recording may be the cause."""
        return [(restart.reason, restart.job is not None) for restart in self.roster.restart_log.read()[1]]

    def stop(self) -> None:
        self.roster.closing.set()
        self.slot.wake()
        self.slot.join(PATIENCE_SECONDS)
        assert not self.slot.is_alive()
