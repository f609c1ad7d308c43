"""Waiting on the event loop for what may never end: threads that block, and tasks of Gradio.

Limits are counted in ticks, not read from a clock. So a process that was stopped and continued has not waited.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

TICK_SECONDS = 0.5


def in_thread(function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
    """Call a function on a thread of its own, whose end neither the event loop nor the interpreter waits for.

    `asyncio.to_thread` uses a pool that both join without a limit when they end.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():  # its reader was cancelled
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = function(*arguments)
        except BaseException as raised:  # also SystemExit, which would otherwise leave the future open
            error = raised
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=f"page-{function.__name__}", daemon=True).start()
    return future


async def ends_within(future: asyncio.Future[Any], seconds: float) -> bool:
    """Wait for a future, without cancelling it; returns whether it ended in time. It may have failed."""
    for _ in range(math.ceil(seconds / TICK_SECONDS)):
        await asyncio.wait({future}, timeout=min(TICK_SECONDS, seconds))
        if future.done():
            return True
    return future.done()


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event; returns whether it was set in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
