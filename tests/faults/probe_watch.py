"""A thread that reads the probes of a service all the time, as a kubelet does, but much more often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from faults.client import Client
from support.waiting import wait_until

PROBES = ("health", "readyz", "livez")
PAUSE_SECONDS = 0.05
READINGS = 18
"""`read_on` waits for so many."""


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
    """Reads the probes while its context is open.

    Parameters
    ----------
    address : str
        ``host:port``.
    has_ended : callable
        Whether the service has ended; then nothing is red any more.
    probes : sequence of str
    new_connections : bool
        Whether each reading opens a connection. Otherwise each probe keeps one.
    patience_seconds : float
        A probe that is not answered for so long counts as red.

    Attributes
    ----------
    reds : list of Red
    readings : int
    longest_seconds : float
        The longest reading.
    """

    def __init__(
        self,
        address: str,
        has_ended: Callable[[], bool],
        probes: Sequence[str] = PROBES,
        *,
        new_connections: bool = False,
        patience_seconds: float = 20.0,
    ) -> None:
        self._clients = {probe: Client(address, patience_seconds) for probe in probes}
        self._has_ended = has_ended
        self._new_connections = new_connections
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="probe-watch")
        self.reds: list[Red] = []
        self.readings = 0
        self.longest_seconds = 0.0

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
        enough = self.readings + READINGS
        wait_until(lambda: self.readings >= enough or not self._thread.is_alive(), "the probes were read")

    def _watch(self) -> None:
        red_now: dict[str, Red] = {}
        while not self._stop.is_set():
            for probe, client in self._clients.items():
                begun = time.monotonic()
                cause = self._cause(probe, client)
                if self._has_ended():
                    return
                now = time.monotonic()
                self.longest_seconds = max(self.longest_seconds, now - begun)
                self.readings += 1
                if cause is None:
                    red_now.pop(probe, None)
                elif probe in red_now:
                    red_now[probe].ended = now
                else:
                    red_now[probe] = Red(probe, now, now, cause)
                    self.reds.append(red_now[probe])
            self._stop.wait(PAUSE_SECONDS)

    def _cause(self, probe: str, client: Client) -> str | None:
        try:
            answer = client.get(f"/{probe}")
        except Exception as error:  # a probe that is not answered counts as failed, whatever the error
            return f"no answer: {type(error).__name__}"
        finally:
            if self._new_connections:
                client.close()
        return None if answer.status == 200 else f"{answer.status} {answer.text[:200]}"
