"""The functions that tests/test_parallel.py runs in other processes."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

_factor = [1]


def prepare(factor: int) -> None:
    _factor[0] = factor


def prepared_times(item: int) -> int:
    return _factor[0] * item


def inverse(item: int) -> float:
    return 1 / item


def die_at_three(task: tuple[int, int]) -> int:
    item, number = task
    if item == 3:
        os.kill(os.getpid(), number)
    return item


def wait_forever_unless_zero(item: int) -> int:
    if item:
        threading.Event().wait()
    return item


def die_once_at_three(task: tuple[int, int, str]) -> int:
    item, number, mark = task
    if item == 3 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), number)
    return item


def hang_at_three(item: int) -> int:
    return wait_forever_unless_zero(item) if item == 3 else item


def own_process_id_or_hang(item: int) -> int:
    return wait_forever_unless_zero(item) or os.getpid()


def own_process_id(_: int) -> int:
    return os.getpid()


class Unpicklable(Exception):
    def __init__(self, number: int, _: object) -> None:
        super().__init__(f"of {number}")


def fail_unpicklably(item: int) -> int:
    raise Unpicklable(item, None)


def error_of_sigprof(exit_code: int | None) -> Exception | None:
    return KeyError("the item") if exit_code == -signal.SIGPROF else None
