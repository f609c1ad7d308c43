"""A blocking call that an event loop waits for no longer than it wants to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def call_within(seconds: float, function: Callable[[], T], name: str) -> T:
    """Call a function on a thread of its own.

    A socket's timeout bounds each of its operations, neither the look-up of a name nor the sum of many slow bytes. So a
    call that is not done in time is left to itself, on a thread that does not hold up the end of the process.

    Raises
    ------
    TimeoutError
        It was not done in time.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(set_it: Callable[[], object]) -> None:
        if not outcome.done():
            set_it()

    def call() -> None:
        try:
            value = function()
        except BaseException as error:
            failure = error
            _tell(loop, lambda: settle(lambda: outcome.set_exception(failure)))
        else:
            _tell(loop, lambda: settle(lambda: outcome.set_result(value)))

    threading.Thread(target=call, name=name, daemon=True).start()
    return await asyncio.wait_for(outcome, seconds)


def _tell(loop: asyncio.AbstractEventLoop, settle: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop has ended meanwhile, and nobody waits any more
        return
