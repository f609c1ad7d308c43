"""Reds and restarts that a fault does not explain, counted while it is injected."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from faults.client import Client
from support.waiting import wait_until

PROBES = ("health", "readyz", "livez")
PAUSE_SECONDS = 0.05
READINGS_AFTER = 18
"""The probes are read this often after the recovery."""


@dataclass
class Red:
    """A time in which a probe was not 200.

    Attributes
    ----------
    began, ended : float
        Seconds of the monotonic clock at its first and its last reading.
    cause : str
        Status and beginning of the first answer.
    """

    probe: str
    began: float
    ended: float
    cause: str


class ProbeWatch:
    """A thread that reads the probes of a service all the time, over connections of its own.

    Parameters
    ----------
    address : str
        ``host:port``.
    has_ended : callable
        Whether the service has ended; then nothing is red any more.
    """

    def __init__(self, address: str, has_ended: Callable[[], bool]) -> None:
        self._clients = {probe: Client(address, 20) for probe in PROBES}
        self._has_ended = has_ended
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="probe-watch")
        self.reds: list[Red] = []
        self.readings = 0

    def __enter__(self) -> ProbeWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for client in self._clients.values():
            client.close()

    def read_on(self) -> None:
        """Wait until the probes were read some times more."""
        enough = self.readings + READINGS_AFTER
        wait_until(lambda: self.readings >= enough or not self._thread.is_alive(), "the probes were read")

    def _watch(self) -> None:
        red_now: dict[str, Red] = {}
        while not self._stop.is_set():
            for probe, client in self._clients.items():
                cause = self._cause(probe, client)
                if self._has_ended():
                    return
                now = time.monotonic()
                self.readings += 1
                if cause is None:
                    red_now.pop(probe, None)
                elif probe in red_now:
                    red_now[probe].ended = now
                else:
                    red_now[probe] = Red(probe, now, now, cause)
                    self.reds.append(red_now[probe])
            self._stop.wait(PAUSE_SECONDS)

    @staticmethod
    def _cause(probe: str, client: Client) -> str | None:
        try:
            answer = client.get(f"/{probe}")
        except Exception as error:  # a probe that is not answered counts as failed, whatever the error
            return f"no answer: {type(error).__name__}"
        return None if answer.status == 200 else f"{answer.status} {answer.text[:200]}"


def false_reds(reds: list[Red], may_fail: frozenset[str], injected: float, recovered: float) -> list[Red]:
    """Reds of probes that the fault does not concern, and those that began before it or after the recovery.

    Parameters
    ----------
    reds : list of Red
    may_fail : frozenset of str
        Probes that the fault may turn red.
    injected, recovered : float
        Seconds of the monotonic clock.
    """
    return [red for red in reds if red.probe not in may_fail or not injected <= red.began <= recovered]


def false_restarts(restarts: Mapping[str, int], explained: Mapping[str, int]) -> Counter[str]:
    """Restarts by reason that are more than the fault explains.

    Parameters
    ----------
    restarts : mapping
        Restarts in one repeat, by reason.
    explained : mapping
        The most that the fault explains, by reason.
    """
    return +Counter({reason: count - explained.get(reason, 0) for reason, count in restarts.items()})
