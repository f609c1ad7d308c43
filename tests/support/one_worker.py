"""One worker process as the service starts it, and what a file costs it."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ccmusic.audio.windows import WindowPlan
from ccmusic.inference.result import TrackResult
from ccmusic.models.store import locate
from ccmusic.settings import Settings
from ccmusic.workers.channel import Failed, Job, Ready, WorkerOptions
from ccmusic.workers.fork_server import ForkServer
from ccmusic.workers.worker_process import WorkerProcess
from support.waiting import PATIENCE_SECONDS

POLL_SECONDS = 0.003


@dataclass(frozen=True)
class Cost:
    """What a file costs a worker.

    Attributes
    ----------
    megabytes : float
        Highest resident memory during the job, above that before it.
    processor_seconds, seconds : float
    answer : object
        A result, an error, or None if the worker ended.
    text : str
        The answer for people; the cause if the worker ended.
    """

    megabytes: float
    processor_seconds: float
    seconds: float
    answer: object
    text: str


class OneWorker:
    """A worker process that is replaced when it has ended."""

    def __init__(self, settings: Settings) -> None:
        self._server = ForkServer()
        self._options = WorkerOptions(
            locate(settings.model), settings.decode_limits, settings.threads_per_worker, settings.worker_niceness
        )
        self._process: WorkerProcess | None = None

    def process(self) -> WorkerProcess:
        """A worker that is ready."""
        if self._process is None:
            self._process = WorkerProcess(
                lambda descriptors: self._server.fork(descriptors, lambda: False), self._options, lambda *_: None
            )
            reply = self._process.receive_loaded(PATIENCE_SECONDS, threading.Event())
            assert isinstance(reply, Ready), reply
        return self._process

    def stop(self) -> None:
        """End the worker and its fork server."""
        self._drop()
        self._server.stop()

    def _drop(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def classify(self, content: bytes, timeout_seconds: float = PATIENCE_SECONDS) -> Cost:
        """Send a recording, and measure until the answer or the end of the worker."""
        process = self.process()
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # sets the peak to the present
        watch = _Watch(process.pid)
        idle = _megabytes(process.pid, "VmRSS")
        before = watch.processor_seconds
        began = time.perf_counter()
        try:
            reply = process.request(Job(content, WindowPlan(), False), timeout_seconds)
        except (EOFError, OSError) as error:
            reply = "no answer in time" if isinstance(error, TimeoutError) else None
        seconds = time.perf_counter() - began
        watch.stop()
        match reply:
            case TrackResult():
                answer: object = reply
                text = f"{reply.duration_seconds:.1f} s {','.join(reply.flags)}"
            case Failed(error):
                answer, text = error, f"{error.slug}: {error}"
            case _:
                answer, text = None, reply or f"ended: {process.exit_cause()[1]}"
                self._drop()
        return Cost(watch.peak_megabytes - idle, watch.processor_seconds - before, seconds, answer, text)


class _Watch(threading.Thread):
    """Reads peak and processor time of a process until it is stopped, also if the process ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._stopping = threading.Event()
        self.peak_megabytes = self.processor_seconds = 0.0
        self._read()
        self.start()

    def run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            self._read()

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        self._read()

    def _read(self) -> None:
        with suppress(OSError, KeyError, IndexError):
            fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
            seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            self.processor_seconds = max(self.processor_seconds, seconds)
            self.peak_megabytes = max(self.peak_megabytes, _megabytes(self._pid, "VmHWM"))


def _megabytes(pid: int, name: str) -> float:
    """A field of /proc/PID/status, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(name)
