from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ccmusic.errors import InferenceTimeout, UndecodableAudio, WorkerDied
from ccmusic.parallel import ParallelMap
from support import parallel_tasks
from support.waiting import PATIENCE_SECONDS, wait_until


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


@pytest.mark.parametrize("end", [signal.SIGSEGV, signal.SIGKILL])
def test_an_item_whose_process_was_ended_from_outside_is_tried_once_more(end: signal.Signals, tmp_path: Path) -> None:
    items = [(i, int(end), str(tmp_path / "ended")) for i in range(8)]
    assert dict(ParallelMap(parallel_tasks.die_once_at_three, 2).run(items)) == {i: i for i in range(8)}


def test_an_item_is_not_tried_again_where_the_exit_code_tells_the_cause(tmp_path: Path) -> None:
    items = [(i, int(signal.SIGPROF), str(tmp_path / "ended")) for i in range(4)]
    parallel = ParallelMap(parallel_tasks.die_once_at_three, 1, why_ended=parallel_tasks.error_of_sigprof)
    answers = dict(parallel.run(items))
    assert isinstance(answers.pop(3), KeyError)
    assert answers == {i: i for i in range(3)}


def test_an_item_that_takes_too_long_fails_alone_and_its_process_is_killed() -> None:
    parallel = ParallelMap(parallel_tasks.hang_at_three, 2, seconds_per_item=10.0)
    answers = dict(parallel.run(range(8)))
    assert isinstance(answers.pop(3), InferenceTimeout)
    assert answers == {i: i for i in range(8) if i != 3}
    assert multiprocessing.active_children() == []


def test_only_the_items_in_work_are_taken_from_an_iterator() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    answered = 0
    with closing(ParallelMap(parallel_tasks.prepared_times, 2).run_in_groups(items())) as groups:
        while answered < 6:
            answered += len(next(groups))
            assert len(taken) <= answered + 2
    assert multiprocessing.active_children() == []


def test_a_process_is_replaced_after_so_many_items() -> None:
    parallel = ParallelMap(parallel_tasks.own_process_id, 2, items_per_process=2)
    ids = [process for _, process in parallel.run(range(7))]
    assert max(Counter(ids).values()) == 2
    assert len(set(ids)) >= 4
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(("before", "expected"), [(None, "1"), ("3", "3")])
def test_processes_compute_with_one_thread_each(
    before: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if before is not None:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", before)
    assert list(ParallelMap(os.getenv, 1).run(["OPENBLAS_NUM_THREADS"])) == [(0, expected)]
    assert os.getenv("OPENBLAS_NUM_THREADS") == before


def test_an_error_in_the_preparation_is_that_of_the_run() -> None:
    with pytest.raises(ZeroDivisionError):
        list(ParallelMap(parallel_tasks.prepared_times, 2, parallel_tasks.inverse, (0,)).run([1, 2]))


def test_processes_that_end_before_they_are_ready_end_the_run() -> None:
    with pytest.raises(WorkerDied, match="exit code -9"):
        list(ParallelMap(parallel_tasks.prepared_times, 1, parallel_tasks.die_at_three, ((3, 9),)).run([1, 2]))


def test_an_error_that_pickle_cannot_restore_is_named() -> None:
    ((_, error),) = ParallelMap(parallel_tasks.fail_unpicklably, 1).run([1])
    assert str(error) == "unexpected Unpicklable: of 1"


def test_what_on_wait_raises_ends_the_run_before_an_item_is_blamed() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(ParallelMap(parallel_tasks.die_at_three, 1, on_wait=stop).run([(3, 9)]))
    assert multiprocessing.active_children() == []


KILLED = """
from ccmusic.parallel import ParallelMap
from support import parallel_tasks
for answer in ParallelMap(parallel_tasks.own_process_id_or_hang, 1).run([0, 1]):
    print(answer[1], flush=True)
"""


def test_a_process_that_hangs_ends_with_its_caller() -> None:
    command = [sys.executable, "-c", KILLED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            worker = int(process.stdout.readline())
            process.kill()
            wait_until(lambda: has_ended(worker), "the process has ended")
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def has_ended(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


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
