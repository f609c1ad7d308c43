from __future__ import annotations

import os
import signal
import sys

import pytest

from ccmusic.errors import UndecodableAudio
from ccmusic.parallel import ParallelMap
from support import parallel_tasks


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def test_every_item_is_answered() -> None:
    numbers = ParallelMap(parallel_tasks.prepared_times, 2, parallel_tasks.prepare, (3,))
    assert sorted(numbers.over(list(range(9)))) == [(i, 3 * i) for i in range(9)]


def test_one_that_fails_is_told_and_the_rest_goes_on() -> None:
    answers = dict(ParallelMap(parallel_tasks.inverse, 1).over([1, 0, 2]))
    assert isinstance(answers.pop(1), ZeroDivisionError)
    assert answers == {0: 1.0, 2: 0.5}


@pytest.mark.parametrize("end", [signal.SIGSEGV, signal.SIGKILL])
def test_one_that_ends_its_process_costs_itself_alone(end: signal.Signals) -> None:
    answers = dict(ParallelMap(parallel_tasks.die_at_three, 2).over([(i, int(end)) for i in range(8)]))
    assert isinstance(answers.pop(3), UndecodableAudio)
    assert answers == {i: i for i in range(8) if i != 3}
