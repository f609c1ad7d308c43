"""Opens an encoded recording and checks its size; what decoders read of it."""

from __future__ import annotations

import io
import os
import stat
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ccmusic.audio.budget import Budget
from ccmusic.errors import CcmusicError, EmptyAudio, InvalidParameter, UploadTooLarge

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class AudioFile:
    """A binary file as decoders read it.

    `seek` stays inside the file: broken headers make decoders seek to impossible positions. When the budget is spent,
    the file reads as ended.
    """

    def __init__(self, raw: BinaryIO, budget: Budget) -> None:
        self._raw = raw
        self._budget = budget
        self.size = raw.seek(0, os.SEEK_END)
        raw.seek(0)
        self.tell = raw.tell

    @property
    def is_spent(self) -> bool:
        """Whether the budget is spent."""
        return self._budget.is_spent

    def read(self, count: int) -> bytes:
        return b"" if self._budget.is_spent else self._raw.read(count)

    def readinto(self, buffer: memoryview) -> int:
        if self._budget.is_spent:
            return 0
        count: int = self._raw.readinto(buffer)  # type: ignore[attr-defined]
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_CUR: self._raw.tell(), os.SEEK_END: self.size}.get(whence, 0)
        return self._raw.seek(min(max(0, origin + offset), self.size))

    def peek(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; the position is the beginning of the file afterwards."""
        self.seek(offset)
        content = self._raw.read(count)
        self.seek(0)
        return content

    def part(self, spans: Sequence[tuple[int, int]]) -> AudioFile:
        """A file of these pieces of this one, each from its first byte to the one after its last, in order."""
        self.seek(0)
        return self if list(spans) == [(0, self.size)] else _Part(self._raw, self._budget, spans)


class _Part(AudioFile):
    """Pieces of a file that read as one file without anything between them."""

    def __init__(self, raw: BinaryIO, budget: Budget, spans: Sequence[tuple[int, int]]) -> None:
        super().__init__(raw, budget)
        self._spans = spans
        self._begins = [0, *accumulate(end - begin for begin, end in spans)]
        self.size = self._begins.pop()
        self._position = 0
        self.tell = lambda: self._position

    def read(self, count: int) -> bytes:
        buffer = bytearray(max(0, min(count, self.size - self._position)))
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def readinto(self, buffer: memoryview) -> int:
        # fills the buffer across the pieces: libraries take fewer bytes for the end of the file
        view, done = memoryview(buffer), 0
        while done < len(view) and self._position < self.size and not self._budget.is_spent:
            index = bisect_right(self._begins, self._position) - 1
            begin, end = self._spans[index]
            position = begin + self._position - self._begins[index]
            self._raw.seek(position)
            count: int = self._raw.readinto(view[done : done + end - position])  # type: ignore[attr-defined]
            if not count:
                break
            done += count
            self._position += count
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_CUR: self._position, os.SEEK_END: self.size}.get(whence, 0)
        self._position = min(max(0, origin + offset), self.size)
        return self._position

    def peek(self, offset: int, count: int) -> bytes:
        self.seek(offset)
        content = self.read(count)
        self.seek(0)
        return content


@contextmanager
def open_audio(source: bytes | os.PathLike[str], max_bytes: int, budget: Budget) -> Iterator[AudioFile]:
    with io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else _open(Path(source)) as raw:
        file = AudioFile(raw, budget)
        if not file.size:
            raise EmptyAudio("The file is empty; send a recording.")
        if file.size > max_bytes:
            raise UploadTooLarge(
                f"The recording has {file.size:,} bytes, and at most {max_bytes:,} are accepted "
                "(CCMUSIC_MAX_UPLOAD_BYTES); send a shorter or compressed version."
            )
        try:
            yield file
        finally:
            if isinstance(raw, _DiskFile) and raw.failure is not None:
                raise CcmusicError(f"The file cannot be read to its end: {raw.failure.strerror}") from raw.failure


class _DiskFile(io.BufferedReader):
    """Reads as ended when the disk fails, because decoders in C cannot pass on an error of Python; keeps the error."""

    failure: OSError | None = None

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size)
        except OSError as error:
            self.failure = error
            return b""

    def readinto(self, buffer: WriteableBuffer) -> int:
        try:
            return super().readinto(buffer)
        except OSError as error:
            self.failure = error
            return 0


def _open(path: Path) -> _DiskFile:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InvalidParameter("file", "is a folder; give the path of a recording")
        if not stat.S_ISREG(mode):  # pipes and devices have no end
            raise InvalidParameter(
                "file", "is a pipe or a device; save its content to a file, and give the path of that"
            )
        return _DiskFile(io.FileIO(path))
    except FileNotFoundError as error:
        raise InvalidParameter("file", "does not exist; check its name and its folder") from error
    except OSError as error:
        raise InvalidParameter("file", f"cannot be opened: {error.strerror}") from error
