"""Standard output and error through a bounded buffer, so that a reader that takes nothing blocks nobody.

A log is often a pipe. When the program that reads it hangs, the pipe becomes full, and every thread that logs would
wait: the HTTP loop, the supervisor, and the workers, whose libraries write to standard error too. So the descriptors 1
and 2 of this process, which its children inherit, become pipes of our own, and threads pass their content on::

    front process, workers, native code ── 1, 2 ──► our pipe ──► reader ── buffer ──► writer ──► the real log

Only the writer ever waits. When the buffer is full, lines are dropped and counted. Control characters become escapes
there, and lines that are too long are cut, also those of other programs.
"""

from __future__ import annotations

import faulthandler
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ccmusic.process.log_lines import MAX_LINE_BYTES, clean_lines

BUFFER_BYTES = 2**20
PIPE_BYTES = 2**18
FLUSH_SECONDS = 2.0
"""At the end: how long the log's reader may take for what is left."""
IDLE_SECONDS = 0.1
"""A line without an end is passed on after this time."""
RECENT_SECONDS = 60.0


class DroppedLines:
    """How many lines of the log were lost, and when. Thread-safe.

    Attributes
    ----------
    total : int
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = 0
        self._last = float("-inf")

    def add(self, count: int) -> None:
        """Count lines."""
        with self._lock:
            self.total += count
            self._last = time.monotonic()

    @property
    def recently(self) -> bool:
        """Whether a line was lost in the last `RECENT_SECONDS`."""
        return time.monotonic() - self._last < RECENT_SECONDS


DROPPED = DroppedLines()
"""Of this process: standard output and error are one per process."""


class LogBuffer:
    """Text between the reader and the writer: complete lines, at most `max_bytes`.

    Parameters
    ----------
    dropped : DroppedLines
    max_bytes : int
    """

    def __init__(self, dropped: DroppedLines, max_bytes: int = BUFFER_BYTES) -> None:
        self._dropped = dropped
        self._max_bytes = max_bytes
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._writing = False
        self._closed = False
        self._changed = threading.Condition()

    def put(self, piece: bytes) -> None:
        """Add text, or drop and count its lines if there is no room."""
        with self._changed:
            if self._bytes + len(piece) > self._max_bytes:
                self._note_lost(piece)
                return
            self._pieces.append(piece)
            self._bytes += len(piece)
            self._changed.notify_all()

    def take(self) -> bytes | None:
        """Wait for text, and return all that is there; None at the end."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._pieces or self._closed)
            if not self._pieces:
                return None
            text = b"".join(self._pieces)
            self._pieces.clear()
            self._writing = True
            if self._lost:
                text = f"{self._lost} lines of the log are missing: its reader was too slow\n".encode() + text
                self._lost = 0
            return text

    def wrote(self, count: int) -> None:
        """Note that so many bytes have left."""
        with self._changed:
            self._bytes = max(0, self._bytes - count)

    def lose(self, piece: bytes) -> None:
        """Count the lines of text that could not be written."""
        with self._changed:
            self._note_lost(piece)

    def close(self) -> None:
        """Let `take` return None once the buffer is empty."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_empty(self, timeout_seconds: float) -> bool:
        """Wait until everything was written; returns whether it was."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pieces and not self._writing, timeout_seconds)

    def _note_lost(self, piece: bytes) -> None:
        count = max(1, piece.count(b"\n"))
        self._lost += count
        self._dropped.add(count)


class _Output:
    """One or more descriptors that lead to the same file, through a pipe and a buffer.

    Parameters
    ----------
    descriptors : list of int
    dropped : DroppedLines

    Attributes
    ----------
    target : int
        A descriptor of the file itself.
    """

    def __init__(self, descriptors: list[int], dropped: DroppedLines) -> None:
        self._descriptors = descriptors
        self._buffer = LogBuffer(dropped)
        self.target = os.dup(descriptors[0])
        self._source, entrance = os.pipe()
        _enlarge(entrance)
        for descriptor in descriptors:
            os.dup2(entrance, descriptor)
        os.close(entrance)
        self._ending = False
        self._colours = os.isatty(self.target)
        self._reader = threading.Thread(target=self._read, name="log-reader", daemon=True)
        self._writer = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._reader.start()
        self._writer.start()

    def end(self) -> None:
        """Restore the descriptors, and write what is left if the log's reader takes it."""
        for descriptor in self._descriptors:
            os.dup2(self.target, descriptor)
        self._ending = True
        self._reader.join(FLUSH_SECONDS)
        self._buffer.close()
        if self._buffer.wait_empty(FLUSH_SECONDS):
            self._writer.join(FLUSH_SECONDS)

    def _read(self) -> None:
        """Pass on complete lines. Children may hold the other end longer than we run, so its end is not waited for."""
        rest, cutting = b"", False
        while True:
            if not select.select([self._source], [], [], IDLE_SECONDS)[0]:
                if rest:
                    self._put(rest)
                    rest = b""
                if self._ending:
                    return
                continue
            piece = os.read(self._source, 65536)
            if not piece:
                return
            if cutting:  # the rest of a line that is too long
                _, newline, piece = piece.partition(b"\n")
                cutting = not newline
            complete, newline, rest = (rest + piece).rpartition(b"\n")
            if newline:
                self._put(complete + newline)
            if len(rest) > MAX_LINE_BYTES:
                self._put(rest + b"\n")
                rest, cutting = b"", True

    def _put(self, lines: bytes) -> None:
        self._buffer.put(clean_lines(lines, colours=self._colours))

    def _write(self) -> None:
        while (text := self._buffer.take()) is not None:
            while text:
                try:
                    count = os.write(self.target, text[:4096])
                except BlockingIOError:  # a descriptor that another program made non-blocking
                    select.select([], [self.target], [], 1.0)
                    continue
                except OSError:  # the reader has ended, or the disk is full: later lines may succeed
                    self._buffer.lose(text)
                    self._buffer.wrote(len(text))
                    break
                self._buffer.wrote(count)
                text = text[count:]


def _enlarge(pipe: int) -> None:
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # over the user's limit: the default size does too
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


@contextmanager
def buffered_output(dropped: DroppedLines = DROPPED) -> Iterator[int]:
    """Let standard output and error of this process and its children pass through buffers while a block lasts.

    Yields
    ------
    int
        The descriptor of the real standard output. Who writes to it learns of errors, and may have to wait.
    """
    if sys.platform == "win32":  # no `select` on pipes
        yield 1
        return
    ends = {descriptor: os.fstat(descriptor) for descriptor in (1, 2)}
    same = (ends[1].st_dev, ends[1].st_ino) == (ends[2].st_dev, ends[2].st_ino)
    outputs = [_Output(group, dropped) for group in ([[1, 2]] if same else [[1], [2]])]
    native = faulthandler.is_enabled()  # by PYTHONFAULTHANDLER: a crash of this process cannot pass through a thread
    if native:
        faulthandler.enable(outputs[-1].target)
    try:
        yield outputs[0].target
    finally:
        if native:
            faulthandler.enable(2)
        for output in outputs:
            output.end()
