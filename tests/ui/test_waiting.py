"""Limits on what may never end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ccmusic.ui import waiting
from ccmusic.ui.waiting import ends_within, in_thread, set_within


@pytest.fixture(autouse=True)
def short_ticks(monkeypatch):
    monkeypatch.setattr(waiting, "TICK_SECONDS", 0.01)


def test_a_thread_returns_its_result_or_its_error():
    async def main():
        assert await in_thread(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await in_thread(divmod, 7, 0)
        with pytest.raises(SystemExit):
            await in_thread(raise_exit)

    asyncio.run(main())


def raise_exit():
    raise SystemExit("no licence")


def test_neither_the_loop_nor_the_interpreter_waits_for_a_thread_that_is_stuck():
    go = threading.Event()

    async def main():
        stuck = in_thread(go.wait)
        assert not await ends_within(stuck, 0.05)
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "page-wait"]
        return thread

    thread = asyncio.run(main())  # returns, although the thread runs
    assert thread.is_alive()
    assert thread.daemon
    go.set()
    thread.join(30)
    assert not thread.is_alive()  # its result has no reader and no loop, which is no error


def test_a_thread_whose_reader_was_cancelled_ends():
    async def main():
        go = threading.Event()
        future = in_thread(go.wait)
        future.cancel()
        go.set()
        await in_thread(str)

    asyncio.run(main())


def test_waiting_does_not_cancel():
    async def main():
        go = asyncio.Event()
        task = asyncio.ensure_future(go.wait())
        assert not await ends_within(task, 0.05)
        go.set()
        assert await ends_within(task, 30)
        assert task.result() is True

    asyncio.run(main())


def test_a_failed_future_has_ended():
    async def main():
        future = asyncio.get_running_loop().create_future()
        future.set_exception(ValueError("a reason"))
        assert await ends_within(future, 30)
        assert str(future.exception()) == "a reason"

    asyncio.run(main())


def test_a_process_that_was_stopped_has_not_waited(monkeypatch):
    """After a pause of a minute every timer is due at once. Only one tick has passed then."""

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        ticks = []

        async def wait(_, **limit):
            ticks.append(limit)
            if len(ticks) == 2:  # the second tick took a minute, and what was waited for ends just after it
                future.set_result(None)

        monkeypatch.setattr(waiting.asyncio, "wait", wait)
        assert await ends_within(future, 0.05)
        assert len(ticks) == 2

    asyncio.run(main())


def test_an_event_is_set_or_not():
    async def main():
        event = asyncio.Event()
        assert not await set_within(event, 0.01)
        asyncio.get_running_loop().call_soon(event.set)
        assert await set_within(event, 30)

    asyncio.run(main())
