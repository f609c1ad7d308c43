"""The functions that tests/test_parallel.py runs in other processes."""

from __future__ import annotations

import os
import threading

_factor = [1]


def prepare(factor: int) -> None:
    _factor[0] = factor


def prepared_times(item: int) -> int:
    return _factor[0] * item


def inverse(item: int) -> float:
    return 1 / item


def die_at_three(task: tuple[int, int]) -> int:
    item, signal = task
    if item == 3:
        os.kill(os.getpid(), signal)
    return item


def wait_forever_unless_zero(item: int) -> int:
    if item:
        threading.Event().wait()
    return item
