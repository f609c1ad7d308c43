from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ccmusic.errors import UndecodableAudio
from ccmusic.parallel import ParallelMap
from support import parallel_tasks
from support.waiting import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def test_every_item_is_answered() -> None:
    numbers = ParallelMap(parallel_tasks.prepared_times, 2, parallel_tasks.prepare, (3,))
    assert sorted(numbers.run(list(range(9)))) == [(i, 3 * i) for i in range(9)]


def test_an_item_that_fails_does_not_stop_the_others() -> None:
    answers = dict(ParallelMap(parallel_tasks.inverse, 1).run([1, 0, 2]))
    assert isinstance(answers.pop(1), ZeroDivisionError)
    assert answers == {0: 1.0, 2: 0.5}


@pytest.mark.parametrize("end", [signal.SIGSEGV, signal.SIGKILL])
def test_an_item_that_ends_its_process_fails_alone(end: signal.Signals) -> None:
    answers = dict(ParallelMap(parallel_tasks.die_at_three, 2).run([(i, int(end)) for i in range(8)]))
    assert isinstance(answers.pop(3), UndecodableAudio)
    assert answers == {i: i for i in range(8) if i != 3}


class _Finished(ParallelMap[str, str]):
    """Answers in another order than that of the items."""

    def run(self, items):  # type: ignore[no-untyped-def]
        yield from ((index, items[index].upper()) for index in (2, 0, 3, 1))


def test_answers_in_the_order_of_the_items() -> None:
    assert list(_Finished(str.upper, 1).run_in_order(["a", "b", "c", "d"])) == ["A", "B", "C", "D"]


def test_an_answer_is_yielded_as_soon_as_those_before_it_are_there() -> None:
    finished: list[int] = []

    class Watched(_Finished):
        def run(self, items):  # type: ignore[no-untyped-def]
            for index, answer in super().run(items):
                finished.append(index)
                yield index, answer

    answers = Watched(str.upper, 1).run_in_order(["a", "b", "c", "d"])
    assert next(answers) == "A"
    assert finished == [2, 0]


INTERRUPTED = """
from ccmusic.parallel import ParallelMap
from support import parallel_tasks
try:
    for answer in ParallelMap(parallel_tasks.wait_forever_unless_zero, 1).run([0, 1, 1, 1]):
        print(answer, flush=True)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_ends_the_processes_at_once_and_prints_no_traceback() -> None:
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "(0, 0)\n"
            os.killpg(process.pid, signal.SIGINT)
            assert process.communicate(timeout=PATIENCE_SECONDS) == ("interrupted\n", "")
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
