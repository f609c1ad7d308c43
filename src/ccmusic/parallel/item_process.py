"""A process that calls one function for one item after the other, as its caller sees it and as it runs."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from ccmusic.errors import CcmusicError

Item = TypeVar("Item")

END_SECONDS = 5.0
"""A process that has no more items and does not end within this time is killed."""

# Not `fork`: the caller's libraries may run threads, and a forked process does not have them.
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class Work(Generic[Item]):
    """An item, its index, and whether it ended a process before."""

    index: int
    item: Item
    is_second_try: bool = False


class ItemProcess(Generic[Item]):
    """One process, and the item that it works on.

    Parameters
    ----------
    function, prepare, prepared_with
        As for `ParallelMap`.
    work : Work
        The first item, which is sent when the process is ready.
    now : float
        Running time of the caller, in seconds.

    Attributes
    ----------
    connection : Connection
        Receives a pair: whether it is an answer, and the answer or the error. The first says that the process is ready.
    is_ready : bool
    work : Work or None
    n_items : int
        Answers so far.
    began : float
        When the process was started, or when it got the item.
    """

    def __init__(
        self,
        function: Callable[[Item], Any],
        prepare: Callable[..., object] | None,
        prepared_with: tuple[Any, ...],
        work: Work[Item],
        now: float,
    ) -> None:
        self.connection, other = _CONTEXT.Pipe()
        arguments = (other, function, prepare, prepared_with)
        self._process = _CONTEXT.Process(target=_work, args=arguments, daemon=True)
        with _interrupts_wait(), _one_thread_each():
            self._process.start()
        other.close()
        self.is_ready = False
        self.n_items = 0
        self.work: Work[Item] | None = work
        self.began = now

    def send(self, work: Work[Item], now: float) -> None:
        """Send an item to the process, which waits for one, so that also a large one is read at once."""
        self.work = work
        self.began = now
        with suppress(OSError):  # the process has ended: reading from it says so
            self.connection.send(work.item)

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def end(self) -> None:
        """Let the process, which has no item, end by itself."""
        self.connection.close()
        self._process.join(END_SECONDS)
        if self._process.is_alive():
            self.kill()

    def kill(self) -> None:
        """End the process and wait for its end."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _work(
    connection: Connection,
    function: Callable[[Any], Any],
    prepare: Callable[..., object] | None,
    prepared_with: tuple[Any, ...],
) -> None:
    """What a process does: say that it is ready, then answer items until the pipe ends."""
    # Ctrl-C reaches the whole process group. The caller handles it; these processes end at once, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with suppress(BrokenPipeError, EOFError):
        try:
            if prepare is not None:
                prepare(*prepared_with)
        except Exception as error:
            connection.send_bytes(_failure(error))
            return
        connection.send((True, None))
        while True:
            item = connection.recv()
            try:
                content = pickle.dumps((True, function(item)))
            except Exception as error:
                content = _failure(error)
            del item  # 100 MB, perhaps
            connection.send_bytes(content)


def _failure(error: Exception) -> bytes:
    try:
        content = pickle.dumps((False, error))
        pickle.loads(content)  # noqa: S301  some errors can be written and not read
    except Exception:
        return pickle.dumps((False, CcmusicError(f"unexpected {type(error).__name__}: {error}")))
    return content


def _end_with_the_caller() -> None:
    """End this process when the caller has ended, also while it works."""
    caller = multiprocessing.parent_process()
    if caller is not None:
        caller.join()
        os._exit(1)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Start processes whose numpy uses one thread, as workers of the service do: there is a process for each core."""
    if "OPENBLAS_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when numpy is imported
    try:
        yield
    finally:
        del os.environ["OPENBLAS_NUM_THREADS"]


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Deliver Ctrl-C to this thread after the ``with`` block: a process that starts in it prints no traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
