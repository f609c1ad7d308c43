"""The bound on event streams."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from ccmusic.ui.streams import StreamLimit

STREAM = "/gradio_api/heartbeat/abc"


def refused(limit: StreamLimit, *opened: tuple[str, str]) -> list[bool]:
    """Open streams, each a path and a client, and keep them open; returns which were refused."""

    async def main() -> list[bool]:
        async with AsyncExitStack() as streams:
            return [await streams.enter_async_context(limit.counted(*one)) is not None for one in opened]

    return asyncio.run(main())


def test_the_streams_of_one_client_and_of_all_are_bounded():
    limit = StreamLimit(most=3, most_per_client=2)
    streams = [(STREAM, client) for client in ("a", "a", "a", "b", "b", "c")]
    assert refused(limit, *streams) == [False, False, True, False, True, True]
    assert refused(limit, *streams[:2]) == [False, False], "streams that have ended do not count"


@pytest.mark.parametrize(
    ("path", "is_stream"),
    [
        ("/gradio_api/heartbeat/abc", True),
        ("/gradio_api/queue/data", True),
        ("/gradio_api/call/classify/0123", True),
        ("/gradio_api/call/v2/classify", True),
        ("/gradio_api/upload_progress", True),
        ("/gradio_api/queue/join", False),
        ("/config", False),
    ],
)
def test_which_paths_are_streams(path, is_stream):
    limit = StreamLimit(most=0)
    assert refused(limit, (path, "a")) == [is_stream]
