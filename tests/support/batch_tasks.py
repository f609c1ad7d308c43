"""Replacements of the analysis of a batch: a file with a certain name ends or hangs its process, or
makes it connect."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ccmusic.batch import analysis, run
from ccmusic.batch.analysis import Task
from ccmusic.batch.outcome import Outcome

NAME = "CCMUSIC_TEST_BATCH_NAME"


def dying(task: Task) -> Outcome:
    if task.path.endswith(os.environb[NAME.encode()]):
        os.kill(os.getpid(), signal.SIGSEGV)
    return analysis.analyse(task)


def hanging(task: Task) -> Outcome:
    if task.path.endswith(os.environb[NAME.encode()]):
        threading.Event().wait()
    return analysis.analyse(task)


def connecting(task: Task) -> Outcome:
    if task.path.endswith(os.environb[NAME.encode()]):
        socket.socket()
    return analysis.analyse(task)


@contextmanager
def connect_at(name: bytes) -> Iterator[None]:
    yield from _replaced(connecting, name)


@contextmanager
def die_at(name: bytes) -> Iterator[None]:
    yield from _replaced(dying, name)


@contextmanager
def hang_at(name: bytes) -> Iterator[None]:
    yield from _replaced(hanging, name)


def replace_for_good(name: bytes) -> None:
    """Hang at this name until the process ends."""
    run.analyse = hanging
    os.environb[NAME.encode()] = name


def _replaced(function: object, name: bytes) -> Iterator[None]:
    before, run.analyse = run.analyse, function  # type: ignore[assignment]
    os.environb[NAME.encode()] = name
    try:
        yield
    finally:
        run.analyse = before
        del os.environb[NAME.encode()]
