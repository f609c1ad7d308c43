"""One end of the connection between the front process and a worker: whole messages, within bounds and time limits."""

from __future__ import annotations

import math
import os
import select
import socket
import struct

import numpy as np

from ccmusic.health.clock import CLOCK
from ccmusic.workers import wire
from ccmusic.workers.answer_check import MalformedMessage
from ccmusic.workers.channel import Message

HEAD = struct.Struct("<QQ")
"""Sizes of the text and of the raw bytes of a message, which follow."""
MAX_TEXT_BYTES = 2**20
"""Largest text. Everything that grows with a recording is an array, and arrays are raw bytes."""
MAX_RAW_BYTES = 64 * 2**20
"""Most raw bytes of a worker's message. An hour with every window explained has 13 MB."""
MAX_PARTS = 256


class MessageStream:
    """One end of the connection.

    Parameters
    ----------
    descriptor : int
        A socket that only this object closes. If it does not block, `send` and `receive` keep their time limits.
    max_raw_bytes : float
        Most raw bytes of a message that is received.
    """

    def __init__(self, descriptor: int, max_raw_bytes: float = math.inf) -> None:
        self._descriptor = descriptor
        self._max_raw_bytes = max_raw_bytes
        self._closed = False
        self._sizes: tuple[int, int] | None = None
        self._incoming = _memory(HEAD.size)
        self._n_filled = 0

    def fileno(self) -> int:
        """The descriptor, for `wait`."""
        return self._descriptor

    def close(self) -> None:
        """Close the socket; a second call has no effect."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)

    def send(self, message: Message, timeout_seconds: float = math.inf) -> None:
        """Send a message.

        Raises
        ------
        TimeoutError
            The other process did not take all of it in time; the connection is of no use any more.
        OSError
            The other process has ended.
        """
        deadline = _deadline(timeout_seconds)
        text, buffers = wire.encode(message)
        head = HEAD.pack(len(text), sum(map(len, buffers)))
        parts = [memoryview(head + text), *(memoryview(buffer) for buffer in buffers if buffer)]
        while parts:
            try:
                n_sent = os.writev(self._descriptor, parts[:MAX_PARTS])
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
                continue
            while parts and n_sent >= len(parts[0]):
                n_sent -= len(parts.pop(0))
            if n_sent:
                parts[0] = parts[0][n_sent:]

    def receive(self, kinds: tuple[type[wire.M], ...], timeout_seconds: float = math.inf) -> wire.M:
        """The next message. A call after a `TimeoutError` continues with the same message.

        Raises
        ------
        MalformedMessage
            It is too large, or none of these kinds.
        TimeoutError
            It has not come completely in time.
        EOFError, OSError
            The other process has ended.
        """
        deadline = _deadline(timeout_seconds)
        if self._sizes is None:
            self._fill(deadline)
            n_text, n_raw = HEAD.unpack(self._incoming)
            if n_text > MAX_TEXT_BYTES or n_raw > self._max_raw_bytes:
                raise MalformedMessage(f"it announces {n_text:,} bytes of text and {n_raw:,} other bytes")
            self._sizes = n_text, n_raw
            self._incoming, self._n_filled = _memory(n_text + n_raw), 0
        self._fill(deadline)
        incoming, n_text = self._incoming, self._sizes[0]
        self._sizes, self._incoming, self._n_filled = None, _memory(HEAD.size), 0
        return wire.decode(bytes(incoming[:n_text]), incoming[n_text:], kinds)

    def _fill(self, deadline: float) -> None:
        while self._n_filled < len(self._incoming):
            try:
                n_read = os.readv(self._descriptor, [self._incoming[self._n_filled :]])
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
                continue
            if not n_read:
                raise EOFError
            self._n_filled += n_read

    def _wait(self, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._descriptor, event)
        # a wait without an end is never needed: only the front process has a descriptor that does not block
        if not CLOCK.wait(lambda left: poll.poll(1000 * left), max(0.0, deadline - CLOCK.now())):
            raise TimeoutError


def stream_pair() -> tuple[MessageStream, MessageStream]:
    """The front process's end, which keeps time limits and bounds, and the worker's end."""
    front, worker = socket.socketpair()
    front.setblocking(False)
    return MessageStream(front.detach(), MAX_RAW_BYTES), MessageStream(worker.detach())


def _deadline(timeout_seconds: float) -> float:
    return math.inf if timeout_seconds == math.inf else CLOCK.now() + timeout_seconds


def _memory(size: int) -> memoryview:
    """Memory that is not written before the message comes, so that a size that is only announced costs none."""
    return np.empty(size, np.uint8).data if size else memoryview(b"")
