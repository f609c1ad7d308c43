"""Call one function for many items, in processes that may die. A file that crashes a codec costs that file alone."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ccmusic.errors import UndecodableAudio

Item = TypeVar("Item")
Answer = TypeVar("Answer")

DEADLY = "The recording ended the process that read it; export it again, for example as WAV or MP3."

AHEAD = 2
"""Items that wait in the pool for each process, beside the one that it works on."""

# Not `fork`: the caller's libraries may run threads, and a forked process does not have them.
_CONTEXT = multiprocessing.get_context("spawn")


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    """

    function: Callable[[Item], Answer]
    jobs: int
    prepare: Callable[..., object] | None = None
    prepared_with: tuple[Any, ...] = ()

    def run(self, items: Sequence[Item]) -> Iterator[tuple[int, Answer | Exception]]:
        """Call the function for every item. An item that fails does not stop the others.

        Yields
        ------
        int
            Index of the item. Items come in the order in which they finish.
        answer or Exception
            What the function returned or raised; `UndecodableAudio` for an item that ended its process.
        """
        todo = iter(range(len(items)))
        while True:
            pending: dict[Future[Answer], int] = {}
            try:
                yield from self._until_broken(items, todo, pending)
            except BrokenProcessPool:
                # One item ended its process, and the pool lost all pending items with it. Each of them is tried again
                # in a process of its own, which shows the item that is to blame.
                for index in sorted(pending.values()):
                    yield from self._alone(items, index)
            else:
                return

    def run_in_order(self, items: Sequence[Item]) -> Iterator[Answer | Exception]:
        """Call the function for every item, as `run` does, and yield the answers in the order of the items."""
        early: dict[int, Answer | Exception] = {}
        n_yielded = 0
        for index, answer in self.run(items):
            early[index] = answer
            while n_yielded in early:
                yield early.pop(n_yielded)
                n_yielded += 1

    def _until_broken(
        self, items: Sequence[Item], todo: Iterator[int], pending: dict[Future[Answer], int]
    ) -> Iterator[tuple[int, Answer | Exception]]:
        pool = self._pool(self.jobs)
        try:
            while True:
                for index in itertools.islice(todo, self.jobs * (1 + AHEAD) - len(pending)):
                    pending[_submit(pool, self.function, items[index])] = index
                if not pending:
                    return
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    answer = _answer(future)
                    yield pending.pop(future), answer
        finally:
            pool.shutdown(cancel_futures=True)

    def _alone(self, items: Sequence[Item], index: int) -> Iterator[tuple[int, Answer | Exception]]:
        with self._pool(1) as pool:
            try:
                yield index, _answer(_submit(pool, self.function, items[index]))
            except BrokenProcessPool:
                yield index, UndecodableAudio(DEADLY)

    def _pool(self, jobs: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            jobs, mp_context=_CONTEXT, initializer=_start_process, initargs=(self.prepare, self.prepared_with)
        )


def _start_process(prepare: Callable[..., object] | None, prepared_with: tuple[Any, ...]) -> None:
    # Ctrl-C reaches the whole process group. The caller handles it; these processes end at once, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if prepare is not None:
        prepare(*prepared_with)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Item], Answer], item: Item) -> Future[Answer]:
    try:
        return pool.submit(function, item)
    except BrokenProcessPool as error:
        # The pool may break between two calls of `wait`. The item must be among those that are tried again.
        broken: Future[Answer] = Future()
        broken.set_exception(error)
        return broken


def _answer(future: Future[Answer]) -> Answer | Exception:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        raise error
    if isinstance(error, Exception):
        return error
    return future.result()
