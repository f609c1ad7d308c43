"""A blocking call with a time limit, for an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def call_within(seconds: float, function: Callable[[], T], name: str) -> T:
    """Call a function on its own thread.

    The timeout of a socket limits each operation, but neither the name resolution nor the total time of a slow answer.
    A call that exceeds the limit is abandoned on a daemon thread, which does not delay the exit of the process.

    Raises
    ------
    TimeoutError
        The call exceeded the limit.
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
            _call_in_loop(loop, lambda: settle(lambda: outcome.set_exception(failure)))
        else:
            _call_in_loop(loop, lambda: settle(lambda: outcome.set_result(value)))

    threading.Thread(target=call, name=name, daemon=True).start()
    return await asyncio.wait_for(outcome, seconds)


def _call_in_loop(loop: asyncio.AbstractEventLoop, settle: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop has ended, so no caller waits
        return
