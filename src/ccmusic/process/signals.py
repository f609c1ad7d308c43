"""What a program does at signals before its server runs."""

from __future__ import annotations

import os
import signal

EXIT_AT_SIGTERM = 128 + signal.SIGTERM

_ROTATION = ("SIGHUP", "SIGUSR1")
"""Signals that programs for log rotation send, and SIGHUP also when a terminal closes."""


def set_early_handlers(*, serves: bool) -> None:
    """Set the handlers of a command line that has just started.

    The kernel does not deliver a signal without a handler to process 1, the only process of many containers. So without
    this, a SIGTERM during the imports would be lost, and the container would be killed after its whole grace period.

    Parameters
    ----------
    serves : bool
        Whether the command is a server. Its exit code at SIGTERM is 0: nothing was accepted yet. The log of a server is
        standard error, so there is no file that it could open again: it ignores the signals of log rotation. The
        processes that it starts inherit this.
    """
    _set(serves)
    if hasattr(signal, "pthread_sigmask"):  # `env --block-signal=TERM` keeps a signal until here
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _set(serves: bool) -> None:
    if serves:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        for name in _ROTATION:
            if hasattr(signal, name):  # Windows has neither
                signal.signal(getattr(signal, name), signal.SIG_IGN)
    elif os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_AT_SIGTERM))
