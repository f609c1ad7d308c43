"""Reports the state of the service to systemd: started, status, alive, stopping.

A thread of its own sends the messages. It reads the health snapshot, which another thread samples. So a blocked HTTP
loop ends the watchdog's pings, because ``/livez`` becomes false. A stopped process, or an interpreter lock that is not
released, stops this thread and so ends the pings too.

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
"""Period of the thread. It sends a message only if something has changed."""
STATUS_SECONDS = 1.0
"""Shortest time between two status lines: a cause that counts seconds would otherwise send four each second."""
SEND_SECONDS = 1.0
JOIN_SECONDS = 2.0
MAX_STATUS_CHARACTERS = 500


class Notifying(Protocol):
    """The service whose state is reported."""

    draining: bool

    def snapshot(self) -> HealthSnapshot:
        """The present state."""


class Notifications:
    """Sends messages to the supervisor (systemd) that started this process; does nothing if there is none.

    A context manager: the thread runs while its context lasts.

    Parameters
    ----------
    service : Notifying
    listening : callable
        Returns whether the server answers requests. For systemd the service has started then. The model may still be
        loading; ``/health`` and the status line report this.
    environment : mapping
        Has ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.
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
                self._turn(time.monotonic())  # the system's clock, which systemd measures by
        except Exception:  # no more pings: systemd restarts a service that cannot report its state
            logger.exception("systemd is no longer notified")

    def _turn(self, now: float) -> None:
        snapshot = self._service.snapshot()
        if not self._ready and self._listening():
            self._ready = self._send("READY=1")
        if not self._stopping and self._service.draining:
            self._stopping = self._send("STOPPING=1")
        status = status_line(snapshot)
        if status != self._status and now - self._status_at >= STATUS_SECONDS and self._send(f"STATUS={status}"):
            self._status, self._status_at = status, now
        due = self._ping_seconds is not None and now - self._pinged_at >= self._ping_seconds
        if due and snapshot.passes("livez") and self._send("WATCHDOG=1"):
            self._pinged_at = now

    def _send(self, message: str) -> bool:
        """Send a message; returns whether it was sent. A message that was not sent is tried again at the next turn."""
        try:
            # a new socket for each message: the receiver may have been restarted and have a new socket
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.settimeout(SEND_SECONDS)
                out.sendto(message.encode("utf-8", "backslashreplace"), self._address or "")
        except OSError as error:
            if not self._undelivered:
                logger.warning("cannot send %s to systemd: %s", message.partition("=")[0], error)
            self._undelivered = True
            return False
        self._undelivered = False
        return True


def notifications(
    service: Notifying, listening: Callable[[], bool], environment: Mapping[str, str] | None = None
) -> Notifications:
    """Report the state of a service to systemd while a ``with`` block lasts; see `Notifications`.

    The messages are ``READY=1`` once `listening`, ``STATUS=`` with the health as text, ``WATCHDOG=1`` at half of
    ``WATCHDOG_USEC`` while ``/livez`` is true, and ``STOPPING=1`` when the drain begins. A ``/livez`` that is false for
    less than half of ``WATCHDOG_USEC`` has no effect. If it stays false, systemd ends the process after
    ``WATCHDOG_USEC``.
    """
    return Notifications(service, listening, os.environ if environment is None else environment)


def _address(name: str) -> str | None:
    """The address of a unix socket (a path, or ``@name`` in the abstract namespace); None for other addresses."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None


def _ping_seconds(environment: Mapping[str, str]) -> float | None:
    """Half of the watchdog's time; None if no pings are expected of this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 2e6 if microseconds > 0 else None


def status_line(snapshot: HealthSnapshot) -> str:
    """The health as one line of text."""
    warnings = snapshot.warnings
    text = snapshot.message or ("ok; but " + "; ".join(warnings) if warnings else "ok")
    return " ".join(text.split())[:MAX_STATUS_CHARACTERS]
