"""Ends the process when its own end hangs."""

from __future__ import annotations

import faulthandler
import os
import threading

from ccmusic.health.clock import CLOCK


class LatestEnd:
    """A thread that waits for the beginning of the end, and ends the process some time after it.

    Every process below this one ends with it. The stack of each thread is written to the standard error then, and the
    exit code is 1.

    Parameters
    ----------
    seconds : float
        Time from `begin` to the end, in which this process runs.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun = threading.Event()
        # it starts now: at SIGTERM the system may refuse another thread
        threading.Thread(target=self._wait, name="ccmusic-latest-end", daemon=True).start()

    def begin(self) -> None:
        """The process is told to end. Safe in a signal handler."""
        self._begun.set()

    def _wait(self) -> None:
        self._begun.wait()
        CLOCK.wait(threading.Event().wait, self._seconds)
        faulthandler.dump_traceback(all_threads=True)
        os._exit(1)
