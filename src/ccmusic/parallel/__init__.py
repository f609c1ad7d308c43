"""Call one function for many items, in processes that may die or hang. A bad file costs that file alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from ccmusic.errors import InferenceTimeout, UndecodableAudio, WorkerDied
from ccmusic.parallel.item_process import ItemProcess, Work

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Indexed = tuple[int, Answer | Exception]

DEADLY = "The recording ended the process that read it; export it again, for example as WAV or MP3."

WAIT_SECONDS = 0.5
"""Longest time between two calls of `ParallelMap.on_wait` while processes work."""

START_SECONDS = 600.0
"""A process that is not ready after this time is ended."""
FAILED_STARTS = 3
"""After so many processes in a row that end before they are ready, the others would end, too."""


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _nothing() -> None:
    """Do nothing."""


def _unknown(_: int | None) -> None:
    """The end of a process may have any cause."""


@dataclass(frozen=True)
class ParallelMap(Generic[Item, Answer]):
    """Processes that call one function.

    Attributes
    ----------
    function : callable
        Takes one item. Pickle must find it by its module and name.
    jobs : int
        Number of processes.
    prepare : callable, optional
        Called once in each process before the first item, with the arguments `prepared_with`.
    prepared_with : tuple
    seconds_per_item : float, optional
        A process that needs longer for an item is killed, and the item fails. Time in which this process itself is
        stopped does not count.
    items_per_process : int, optional
        After so many items a process is replaced: libraries may keep memory for ever.
    why_ended : callable
        The error of an item whose process has ended with an exit code, if the item is certainly the cause; None by
        default. Other items are tried once more.
    on_wait : callable
        Called at least every `WAIT_SECONDS` while processes work, and before an item is blamed for the end of its
        process. What it raises ends the run.
    """

    function: Callable[[Item], Answer]
    jobs: int
    prepare: Callable[..., object] | None = None
    prepared_with: tuple[Any, ...] = ()
    seconds_per_item: float | None = None
    items_per_process: int | None = None
    why_ended: Callable[[int | None], Exception | None] = _unknown
    on_wait: Callable[[], object] = _nothing

    def run(self, items: Iterable[Item]) -> Iterator[Indexed[Answer]]:
        """Call the function for every item. An item that fails does not stop the others.

        Only the items in work are in memory, so `items` may be an iterator without end.

        Yields
        ------
        int
            Index of the item. Items come in the order in which they finish.
        answer or Exception
            What the function returned or raised; `UndecodableAudio` for an item that ended its process twice, and
            `InferenceTimeout` for one that took too long.

        Raises
        ------
        WorkerDied
            Processes end before they are ready.
        """
        for answers in self.run_in_groups(items):
            yield from answers

    def run_in_groups(self, items: Iterable[Item]) -> Generator[list[Indexed[Answer]]]:
        """As `run`, and yield the answers that have arrived together as one list, which is not empty."""
        pool: _Pool[Item, Answer] = _Pool(self, iter(enumerate(items)))
        try:
            while pool.begin():
                if answers := pool.finished():
                    yield answers
            pool.end()
        finally:
            pool.kill()

    def run_in_order(self, items: Iterable[Item]) -> Iterator[Answer | Exception]:
        """Call the function for every item, as `run` does, and yield the answers in the order of the items."""
        early: dict[int, Answer | Exception] = {}
        n_yielded = 0
        for index, answer in self.run(items):
            early[index] = answer
            while n_yielded in early:
                yield early.pop(n_yielded)
                n_yielded += 1


class _Pool(Generic[Item, Answer]):
    """The processes of one run, and the items that they work on."""

    def __init__(self, parallel: ParallelMap[Item, Answer], todo: Iterator[tuple[int, Item]]) -> None:
        self._parallel = parallel
        self._todo = todo
        self._once_more: list[Work[Item]] = []
        self._processes: list[ItemProcess[Item]] = []
        self._failed_starts = 0
        self._seconds = 0.0
        self._looked = time.monotonic()

    def begin(self) -> bool:
        """Give items to processes that have none; False if no process works and no item is left."""
        for process in list(self._processes):
            if process.n_items == self._parallel.items_per_process:
                self._processes.remove(process)
                process.end()
            elif process.work is None and (work := self._next()) is not None:
                process.send(work, self._seconds)
        while len(self._processes) < self._parallel.jobs and (work := self._next()) is not None:
            self._processes.append(
                ItemProcess(
                    self._parallel.function, self._parallel.prepare, self._parallel.prepared_with, work, self._seconds
                )
            )
        return any(process.work is not None for process in self._processes)

    def _next(self) -> Work[Item] | None:
        if self._once_more:
            return self._once_more.pop()
        return next((Work(index, item) for index, item in self._todo), None)

    def finished(self) -> list[Indexed[Answer]]:
        """Wait for answers, and return those that have arrived; the processes have their next items already."""
        working = {process.connection: process for process in self._processes if process.work is not None}
        ready = wait(list(working), WAIT_SECONDS)
        now = time.monotonic()
        # a longer gap is a stopped process, or a caller that is busy with the answers
        self._seconds += min(now - self._looked, 2 * WAIT_SECONDS)
        self._looked = now
        self._parallel.on_wait()
        answers: list[Indexed[Answer]] = []
        for connection in ready:
            answers += self._receive(working[connection])  # type: ignore[index]
        answers += [answer for process in list(self._processes) for answer in self._late(process)]
        if answers:
            self.begin()
        return answers

    def _receive(self, process: ItemProcess[Item]) -> Iterator[Indexed[Answer]]:
        work = process.work
        assert work is not None  # noqa: S101  only working processes are read
        try:
            good, value = process.connection.recv()
        except (EOFError, OSError):
            yield from self._died(process, work)
            return
        if process.is_ready:
            process.work = None
            process.n_items += 1
            yield work.index, value
            return
        if not good:
            raise value
        self._failed_starts = 0
        process.is_ready = True
        process.send(work, self._seconds)

    def _died(self, process: ItemProcess[Item], work: Work[Item]) -> Iterator[Indexed[Answer]]:
        self._processes.remove(process)
        process.kill()
        if not process.is_ready:
            self._failed_starts += 1
            self._once_more.append(work)
            if self._failed_starts >= FAILED_STARTS:
                raise WorkerDied(
                    f"A process that reads recordings ended before it was ready (exit code {process.exit_code}). There "
                    "may be too little memory; use fewer processes (--jobs)."
                )
        elif (error := self._parallel.why_ended(process.exit_code)) is not None:
            yield work.index, error
        elif work.is_second_try:
            yield work.index, UndecodableAudio(DEADLY)
        else:  # something else may have ended it, such as a lack of memory
            work.is_second_try = True
            self._once_more.append(work)

    def _late(self, process: ItemProcess[Item]) -> Iterator[Indexed[Answer]]:
        limit = self._parallel.seconds_per_item if process.is_ready else START_SECONDS
        work = process.work
        if work is None or limit is None or self._seconds - process.began < limit:
            return
        if not process.is_ready:
            yield from self._died(process, work)
            return
        self._processes.remove(process)
        process.kill()
        yield work.index, InferenceTimeout(f"The recording was not analysed within {limit:g} s.")

    def end(self) -> None:
        """Let the processes end by themselves."""
        for process in self._processes:
            process.connection.close()
        for process in self._processes:
            process.end()

    def kill(self) -> None:
        """End all processes that still run."""
        for process in self._processes:
            process.kill()
