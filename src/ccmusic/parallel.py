"""One function over many recordings, in processes of their own: a file that crashes a codec costs that file alone."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ccmusic.errors import UndecodableAudio

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AHEAD = 2
"""Items that are handed out beyond those that are worked on, for each process."""

# Not `fork`: the runtimes that the caller may hold have threads, and a fork does not take these along.
_CONTEXT = multiprocessing.get_context("spawn")


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class ParallelMap(Generic[Item, Answer]):
    """Processes that call one function.

    Attributes
    ----------
    function : callable
        Importable from its module.
    jobs : int
        Processes.
    prepare : callable, optional
        Called once in each process before anything else, with `prepared_with`; importable, too.
    prepared_with : tuple
    """

    function: Callable[[Item], Answer]
    jobs: int
    prepare: Callable[..., object] | None = None
    prepared_with: tuple[Any, ...] = ()

    def over(self, items: Sequence[Item]) -> Iterator[tuple[int, Answer | Exception]]:
        """Call the function for every item, and go on after those that fail.

        Yields
        ------
        int
            Which item, in the order of their answers.
        answer or Exception
            What the function returned or raised; `UndecodableAudio` for an item that ended its process.
        """
        todo = iter(range(len(items)))
        while True:
            out: dict[Future[Answer], int] = {}
            try:
                yield from self._until_broken(items, todo, out)
            except BrokenProcessPool:
                # One's end took along what the others were at: alone it is seen whose end it was.
                for index in sorted(out.values()):
                    yield from self._alone(items, index)
            else:
                return

    def _until_broken(
        self, items: Sequence[Item], todo: Iterator[int], out: dict[Future[Answer], int]
    ) -> Iterator[tuple[int, Answer | Exception]]:
        pool = self._pool(self.jobs)
        try:
            while True:
                for index in itertools.islice(todo, self.jobs * (1 + AHEAD) - len(out)):
                    out[_submitted(pool, self.function, items[index])] = index
                if not out:
                    return
                for future in wait(out, return_when=FIRST_COMPLETED).done:
                    answer = _answer(future)
                    yield out.pop(future), answer
        finally:
            pool.shutdown(cancel_futures=True)

    def _alone(self, items: Sequence[Item], index: int) -> Iterator[tuple[int, Answer | Exception]]:
        with self._pool(1) as pool:
            try:
                yield index, _answer(_submitted(pool, self.function, items[index]))
            except BrokenProcessPool:
                yield index, UndecodableAudio("ended the process that read it")

    def _pool(self, jobs: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(jobs, mp_context=_CONTEXT, initializer=self.prepare, initargs=self.prepared_with)


def _submitted(pool: ProcessPoolExecutor, function: Callable[[Item], Answer], item: Item) -> Future[Answer]:
    try:
        return pool.submit(function, item)
    except BrokenProcessPool as error:
        # found broken here or when it is waited for: the item must be among those that are tried again
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
