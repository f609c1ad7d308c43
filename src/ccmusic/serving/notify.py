"""systemd told how the service is: started, in which state, alive, ending.

The messages go out from a thread of their own and are drawn from the health snapshot, which a third thread samples. So
a blocked HTTP loop ends the watchdog's pings: ``/livez`` becomes false. Whatever stops this thread itself (a stopped
process, an interpreter's lock that is never let go) ends them as well.

References
----------
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol

from ccmusic.health import HealthSnapshot

logger = logging.getLogger(__name__)

TURN_SECONDS = 0.25
"""How often the thread looks; a message is sent only where there is something new to say."""
STATUS_SECONDS = 1.0
"""Least time between two status lines: a cause that counts seconds would give four of them in each."""
SEND_SECONDS = 1.0
JOIN_SECONDS = 2.0
LONGEST_STATUS = 500


class Notifying(Protocol):
    """What is told of."""

    draining: bool

    def snapshot(self) -> HealthSnapshot:
        """The present state."""


class Notifications:
    """Messages to the supervisor that started this process; without one, nothing.

    A context manager: the thread runs inside of it.

    Parameters
    ----------
    service : Notifying
    listening : callable
        Whether requests are answered by now. That is what systemd is told as "started": the model still loads then,
        and ``/health`` and the status line say so.
    environment : mapping
        Where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` stand.
    """

    def __init__(self, service: Notifying, listening: Callable[[], bool], environment: Mapping[str, str]) -> None:
        self._service = service
        self._listening = listening
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._ping_seconds = _ping_seconds(environment)
        self._turn_seconds = min(TURN_SECONDS, (self._ping_seconds or TURN_SECONDS) / 2)
        self._ready = False
        self._stopping = False
        self._status = ""
        self._status_at = self._pinged_at = float("-inf")
        self._undelivered = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Notifications:
        if self._address is not None:
            self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        try:
            while not self._ended.wait(self._turn_seconds):
                self._turn(time.monotonic())
        except Exception:  # no more pings: systemd restarts what cannot even say how it is
            logger.exception("systemd is no longer notified")

    def _turn(self, now: float) -> None:
        snapshot = self._service.snapshot()
        if not self._ready and self._listening():
            self._ready = self._send("READY=1")
        if not self._stopping and self._service.draining:
            self._stopping = self._send("STOPPING=1")
        words = _words(snapshot)
        if words != self._status and now - self._status_at >= STATUS_SECONDS and self._send(f"STATUS={words}"):
            self._status, self._status_at = words, now
        due = self._ping_seconds is not None and now - self._pinged_at >= self._ping_seconds
        if due and snapshot.passes("livez") and self._send("WATCHDOG=1"):
            self._pinged_at = now

    def _send(self, message: str) -> bool:
        """Whether the message went out; one that did not is tried again at the next turn."""
        try:
            # a socket for each: whoever listens may have been restarted meanwhile, and set up its own anew
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.settimeout(SEND_SECONDS)
                out.sendto(message.encode("utf-8", "backslashreplace"), self._address or "")
        except OSError as error:
            if not self._undelivered:
                logger.warning("systemd cannot be told %s: %s", message.partition("=")[0], error)
            self._undelivered = True
            return False
        self._undelivered = False
        return True


def notifications(
    service: Notifying, listening: Callable[[], bool], environment: Mapping[str, str] | None = None
) -> Notifications:
    """Tell systemd how a service is, inside of a ``with``; see `Notifications`.

    Sent are ``READY=1`` once `listening`, ``STATUS=`` with the health in words, ``WATCHDOG=1`` at half of
    ``WATCHDOG_USEC`` while ``/livez`` is true, and ``STOPPING=1`` when the drain begins. A ``/livez`` that is false for
    a shorter time than half of ``WATCHDOG_USEC`` has no consequence; one that stays false has systemd end the process
    after the whole of it at the latest.
    """
    return Notifications(service, listening, os.environ if environment is None else environment)


def _address(name: str) -> str | None:
    """Of a unix socket: a path, or ``@name`` in the abstract namespace; other kinds of address are not for us."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None


def _ping_seconds(environment: Mapping[str, str]) -> float | None:
    """Half of the watchdog's time; None where no pings are asked of this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 2e6 if microseconds > 0 else None


def _words(snapshot: HealthSnapshot) -> str:
    """The health in one line."""
    warnings = snapshot.warnings
    words = snapshot.message or ("ok; but " + "; ".join(warnings) if warnings else "ok")
    return " ".join(words.split())[:LONGEST_STATUS]
