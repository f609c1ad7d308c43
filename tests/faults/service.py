"""The service under test: `ccmusic serve` as a process that allows fault injection."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from faults.client import Answer, Client
from faults.look import Look
from faults.probe_watch import PROBES, ProbeWatch
from faults.processes import commands, descendants, has_ended
from support.waiting import PATIENCE_SECONDS, wait_until

TOKEN = "drill"
STOP_SECONDS = 90
LOG_NAME = "service.log"
LOGS, LOG_LINES = 3, 60
"""A drill that fails shows the last lines of the logs of its last services."""
WITH_PAGE = (sys.executable, "-m", "ccmusic.cli", "serve", "--host", "127.0.0.1")
COMMAND = (*WITH_PAGE, "--no-page")


def environment(temporary: str, **settings: object) -> dict[str, str]:
    """The environment of a service under test: it allows faults, and has its own directory of temporary files."""
    chosen = {
        "fault_injection": "true",
        "admin_token": TOKEN,
        "management_port": 0,
        "management_host": "127.0.0.1",
        "workers": 2,
        "drain_linger_seconds": 0,  # only one drill needs it
        **settings,
    }
    ours = {f"CCMUSIC_{name.upper()}": str(value) for name, value in chosen.items() if name.islower()}
    others = {name: str(value) for name, value in chosen.items() if not name.islower()}
    # a page that runs in the process of the tests has set its own directory
    inherited = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}
    return inherited | {"TMPDIR": temporary} | ours | others


def end_of(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def ends_of_logs(directory: Path) -> list[tuple[str, str]]:
    """Name and last lines of the log of each of the last services that were started below a directory."""
    logs = sorted(directory.rglob(LOG_NAME), key=lambda log: log.stat().st_mtime)[-LOGS:]
    return [(f"{log.relative_to(directory)}: its end", end_of(log)) for log in logs]


class Service:
    """A started service.

    Parameters
    ----------
    directory : Path
        For its log.
    wrapper : tuple of str
        A command that runs the service (`unshare ...`).
    with_page : bool
        Whether it serves the page.
    stderr : int, optional
        Descriptor that gets its log; by default a file in `directory`.
    **settings
        Settings have names in lower case; names in capitals are environment variables.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        wrapper: tuple[str, ...] = (),
        with_page: bool = False,
        stderr: int | None = None,
        **settings: object,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / LOG_NAME
        self.directory = directory
        # not in pytest's directory: the path of a socket in it must have at most 107 characters
        self._temporary = tempfile.TemporaryDirectory(prefix="drill-", ignore_cleanup_errors=True)
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*wrapper, *(WITH_PAGE if with_page else COMMAND), "--port", str(port)],
                stdout=subprocess.PIPE,
                stderr=log if stderr is None else stderr,
                cwd=directory,
                env=environment(self._temporary.name, **settings),
            )
        self.pid = self.process.pid
        self._pool = ThreadPoolExecutor(16)
        self._lines = b""
        try:
            self.address = self._named(rb"CCMusic (?:page and )?API: http://([\d.:]+)")
            self.named_at = time.monotonic()
            self.management = self._named(rb"CCMusic management: http://([\d.:]+)")
        except BaseException:
            self.kill()
            raise
        self._watcher = Client(self.address, 10)
        self._side_watcher = Client(self.management, 10)

    def _named(self, pattern: bytes) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        output = self.process.stdout.fileno()
        while (found := re.search(pattern, self._lines)) is None:
            readable, _, _ = select.select([output], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(output, 4096) if readable else b""
            if not piece:
                raise AssertionError(f"the service did not name its address: {self._lines!r}")
            self._lines += piece
        return found[1].decode()

    # its state

    def look(self, *, side: bool = False) -> Look:
        """Probes and metrics, read at the main port or the management port."""
        client = self._side_watcher if side else self._watcher

        def ask(path: str) -> Answer | None:
            try:
                return client.get(path)
            except Exception:  # there is no answer, whatever the error
                return None

        return Look(ask)

    def probe_watch(
        self, probes: Sequence[str] = PROBES, *, new_connections: bool = False, side: bool = False
    ) -> ProbeWatch:
        """Reads the probes all the time while its context is open, at the main port or the management port."""
        address = self.management if side else self.address
        return ProbeWatch(address, lambda: self.process.poll() is not None, probes, new_connections=new_connections)

    def wait_green(self, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Return when all probes are true and every worker is up."""
        try:
            wait_until(lambda: self.look().green, "the service is green", timeout_seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.look().body}") from None

    def worker(self, *states: str, but: tuple[int, ...] = ()) -> int:
        """Wait for a worker in one of these states; returns its process id."""
        found: list[int] = []

        def search() -> bool:
            found[:] = [w["pid"] for w in self.look().workers if w["state"] in states and w["pid"] not in but]
            return bool(found)

        wait_until(search, f"a worker is {' or '.join(states)}")
        return found[0]

    def worker_at_work(self) -> int:
        """Wait for a worker that is in the middle of a long stage of a job; returns its process id."""
        found: list[int] = []

        def search() -> bool:
            workers = self.look().workers
            found[:] = [w["pid"] for w in workers if w["state"] == "busy" and w["stage_seconds"] > 0.2]
            return bool(found)

        wait_until(search, "a worker is in the middle of a job")
        return found[0]

    def fork_server(self, *, but: tuple[int, ...] = ()) -> int:
        """Wait until there is one fork server; returns its process id."""
        found: list[int] = []

        def search() -> bool:
            known = {*but, *(worker["pid"] for worker in self.look().workers)}
            found[:] = [
                pid
                for pid, command in commands(self.pid).items()
                if "fork_server" in command and pid not in known and not has_ended(pid)
            ]
            return len(found) == 1

        wait_until(search, "there is one fork server")
        return found[0]

    def preparation(self) -> int:
        """Wait for the process that prepares a checkpoint; returns its id."""
        found: list[int] = []

        def search() -> bool:
            found[:] = [pid for pid, command in commands(self.pid).items() if "ccmusic.checkpoints" in command]
            return bool(found)

        wait_until(search, "a checkpoint is prepared")
        return found[0]

    def index_of(self, pid: int) -> int:
        """The slot index of a worker process."""
        return next(w["index"] for w in self.look().workers if w["pid"] == pid)

    def stack_dump(self, pid: int | None, reason: str | None = None) -> str:
        """Wait for the stack dump of a process and read the newest one through the management port."""
        found: list[str] = []

        def search() -> bool:
            dumps = self.look(side=True).body.get("stack_dumps", [])
            found[:] = [
                dump["href"]
                for dump in dumps
                if (pid is None or dump["pid"] == pid) and (reason is None or dump["reason"] == reason)
            ]
            return bool(found)

        wait_until(search, f"the stack of process {pid} was kept")
        return self._side_watcher.get(re.sub(r"^https?://[^/]+", "", found[-1])).text

    @property
    def temporary(self) -> Path:
        """Its directory of temporary files, unless a setting names another."""
        return Path(self._temporary.name)

    # requests

    def client(self) -> Client:
        """A new connection."""
        return Client(self.address)

    def classify(
        self, recording: bytes, *, windows: str | int = "whole", timeout: float = 120, source: str = ""
    ) -> Answer:
        """Classify a recording, over a new connection from `source`, a local address; the usual one if it is empty."""
        client = Client(self.address, timeout, source)
        try:
            path = f"/v1/classify?top_k=16&windows={windows}"
            return client.ask("POST", path, recording, {"Content-Type": "audio/wav"})
        finally:
            client.close()

    def classify_later(self, recording: bytes, **options: Any) -> Future[Answer]:
        """The same in the background."""
        return self._pool.submit(self.classify, recording, **options)

    def admin(self, method: str, path: str, body: bytes | None = None, timeout: float = 60) -> Answer:
        """A call with the admin token."""
        client = Client(self.address, timeout)
        try:
            headers = {"Authorization": f"Bearer {TOKEN}", "Content-Length": str(len(body or b""))}
            return client.ask(method, path, body, headers)
        finally:
            client.close()

    def inject(self, fault: str, *, worker: int | None = None, size: float | None = None) -> Answer:
        """Inject a fault; the service must confirm it."""
        given = {"worker": worker, "size": size}
        query = "&".join(f"{name}={value}" for name, value in given.items() if value is not None)
        answer = self.admin("POST", f"/debug/faults/{fault}?{query}")
        assert answer.status < 300, f"{fault} was not injected: {answer.status} {answer.text}"
        return answer

    def inject_later(self, fault: str, **size: Any) -> Future[Answer]:
        """The same in the background, for faults that delay their own answer."""
        return self._pool.submit(self.inject, fault, **size)

    def clear_faults(self) -> None:
        answer = self.admin("DELETE", "/debug/faults")
        assert answer.status < 300, answer.text

    def restart_workers(self) -> None:
        answer = self.admin("POST", "/debug/restart-workers")
        assert answer.status < 300, answer.text

    # its end

    def terminate(self) -> int:
        """Send SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """Kill all its processes."""
        below = descendants(self.pid)
        self.process.kill()
        self.process.wait()
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all(map(has_ended, below)), "all its processes have ended")
        self._close()

    def stop(self) -> None:
        """Terminate it; kill it if that fails."""
        try:
            if self.process.poll() is None:
                self.terminate()
        finally:
            self.kill()

    def _close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)  # the service has ended, so all requests have
        self.process.stdout.close()
        self._temporary.cleanup()
        for name in ("_watcher", "_side_watcher"):
            if (client := getattr(self, name, None)) is not None:
                client.close()
