"""The journal of changes: what is about to happen to a file is on the disk before it happens, and what a file had too.

It is a file of JSON Lines that is only appended to. Each change has a line ``begin``, then ``rename``, then ``done``;
or ``dropped`` if the file stayed as it was. A process that was killed leaves a change without an end: the next one
finds out how far it came, and finishes or removes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ccmusic.batch.disk_errors import disk_errors, full_disk
from ccmusic.batch.plan_format import path_fields, path_of
from ccmusic.errors import InvalidParameter, TagError, TagsInUse
from ccmusic.process.file_locks import NoFileLocks, take_lock
from ccmusic.tagging.replacement import content_hash, flush, is_copy_name

HEADER = b'{"journal": "ccmusic tag", "version": 1}\n'

Record = dict[str, Any]


class Journal:
    """An open journal; only one process has it open.

    Parameters
    ----------
    path : Path

    Raises
    ------
    TagsInUse
        Another process has it open.
    InvalidParameter
        The file is no journal, or cannot be used, for example because it cannot be locked.
    InsufficientStorage
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with disk_errors(path, "--journal"):
            self._open()
        try:
            with full_disk(path, "--journal"):
                self._recover()
        except OSError as error:
            self._file.close()
            what = os.fsdecode(error.filename) if error.filename else "A file"
            raise TagError(f"{what} cannot be recovered after an interruption: {error.strerror}") from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def begin(self, path: Path, copy: str, **about: Any) -> int:
        """Note that a file is about to be changed by a copy with this name; return the number of the change."""
        self._n_changes += 1
        record = {"event": "begin", "change": self._n_changes, **path_fields(os.fsencode(path)), "copy": copy, **about}
        place = self._append(record)
        self._begun[self._n_changes] = {**record, "place": place}
        return self._n_changes

    def renaming(self, change: int, content: str) -> None:
        """Note that the copy, with this SHA-256, is about to become the file."""
        self._append({"event": "rename", "change": change, "content": content})
        self._begun[change]["content"] = content

    def done(self, change: int) -> None:
        """Note that the file is the new one."""
        self._append({"event": "done", "change": change})
        self._finish(change)

    def dropped(self, change: int, reason: str) -> None:
        """Note that the file is the old one."""
        self._append({"event": "dropped", "change": change, "reason": reason})
        self._begun.pop(change, None)

    def finished(self) -> Iterator[Record]:
        """The changes that stand and were not undone, the newest first: the line ``begin``, and ``content``."""
        with self.path.open("rb") as file:
            for place, content in sorted(self._finished.values(), reverse=True):
                file.seek(place)
                yield {**json.loads(file.readline()), "content": content}

    def _open(self) -> None:
        is_new = not self.path.exists()
        self._file = self.path.open("a+b", buffering=0)
        try:
            self._lock()
            self._end = self._complete_lines()
            if is_new:
                flush(self.path.parent)
            self._begun: dict[int, Record] = {}
            self._finished: dict[int, tuple[int, str]] = {}  # the place of `begin`, and the hash of the new file
            self._n_changes = 0
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _finish(self, change: int) -> None:
        record = self._begun.pop(change)
        if "undoes" in record:
            self._finished.pop(record["undoes"], None)
        else:
            self._finished[change] = (record["place"], record["content"])

    def _lock(self) -> None:
        try:
            if not take_lock(self._file.fileno()):
                raise TagsInUse(f"Another command uses the journal {self.path}; wait until it has ended.")
        except NoFileLocks as error:
            raise InvalidParameter(
                "--journal", f"is {self.path}, which cannot be locked: {error.strerror}; name a file on a local disk"
            ) from error

    def _complete_lines(self) -> int:
        """Where the last whole line ends, after the rest of a torn one was cut off.

        A line is torn if the power fails while it is written: what it says has not happened then.
        """
        number = self._file.fileno()
        size = end = self._file.seek(0, os.SEEK_END)
        head = os.pread(number, len(HEADER), 0)
        if head != HEADER[: len(head)]:
            raise InvalidParameter("JOURNAL", f"{self.path} is no journal of `ccmusic tag`")
        if size < len(HEADER):
            os.truncate(number, 0)
            self._file.write(HEADER)
            os.fsync(number)
            return len(HEADER)
        while os.pread(number, 1, end - 1) != b"\n":
            end -= 1
        if end < size:
            os.truncate(number, end)
        return end

    def _read(self) -> None:
        with self.path.open("rb") as file:
            place = len(file.readline())
            for line in file:
                try:
                    record = json.loads(line)
                    change, event = record["change"], record["event"]
                except (ValueError, KeyError, TypeError) as error:
                    raise InvalidParameter("JOURNAL", f"{self.path} is no journal of `ccmusic tag`") from error
                self._n_changes = max(self._n_changes, change)
                if event == "begin":
                    self._begun[change] = {**record, "place": place}
                elif event == "rename" and change in self._begun:
                    self._begun[change]["content"] = record["content"]
                elif event == "done" and change in self._begun:
                    self._finish(change)
                else:
                    self._begun.pop(change, None)
                place += len(line)

    def _recover(self) -> None:
        """Finish or remove what a process that was killed left."""
        for change, record in list(self._begun.items()):
            path = path_of(record)
            copy = path.with_name(record["copy"]) if is_copy_name(record["copy"]) else None
            if not path.parent.is_dir():
                continue  # a disk that is not mounted now: the next command finds out
            if copy is not None and copy.exists():
                copy.unlink()
                self.dropped(change, "the command was ended before the renaming")
            elif "content" in record and path.is_file() and content_hash(path) == record["content"]:
                flush(path.parent)
                self.done(change)
            else:
                self.dropped(
                    change, "the command was ended before there was a copy, or the file was changed after that"
                )

    def _append(self, record: Record) -> int:
        """Write a line to the disk; on a full disk the journal is as it was."""
        line = json.dumps(record).encode() + b"\n"
        try:
            written = self._file.write(line)
            while written < len(line):
                written += self._file.write(line[written:])
            os.fsync(self._file.fileno())
        except OSError:
            os.truncate(self._file.fileno(), self._end)
            raise
        place, self._end = self._end, self._end + len(line)
        return place
