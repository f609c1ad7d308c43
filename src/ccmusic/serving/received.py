"""Recordings as they arrive: in memory if they are small, otherwise in a file of a private directory."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from ccmusic.process.private_directory import PrivateDirectory, delete_ownerless
from ccmusic.serving.admission import Admission

PREFIX = "ccmusic-recordings-"


class RecordingDirectory:
    """Where recordings are received that are too large for memory. It is created for the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._directory: PrivateDirectory | None = None

    def sweep(self) -> None:
        """Begin to delete what killed processes have left; returns at once."""
        parent = Path(tempfile.gettempdir())
        with suppress(RuntimeError):  # no thread can be started: the directory of the next recording does the same
            threading.Thread(target=delete_ownerless, args=(PREFIX, parent), daemon=True).start()

    def new_file(self) -> tuple[Path, BinaryIO]:
        """A new file, open for writing.

        Raises
        ------
        OSError
            The disk does not work.
        """
        name = secrets.token_hex(16)
        with self._lock:
            if self._directory is None or not self._directory.path.is_dir():  # programs that clean /tmp delete it
                self._directory = PrivateDirectory(PREFIX)
            path = self._directory.path / name
        return path, path.open("xb", buffering=0)

    def delete(self) -> None:
        """Delete the directory, if there is one."""
        with self._lock:
            if self._directory is not None:
                self._directory.delete()
                self._directory = None


class ReceivedRecording:
    """One recording that is being received, as a file object for Starlette's parser of forms.

    Parameters
    ----------
    admission : Admission
        Decides whether the recording is in memory.
    directory : RecordingDirectory
    """

    def __init__(self, admission: Admission, directory: RecordingDirectory) -> None:
        self._admission = admission
        self._directory = directory
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self.size = 0

    @property
    def _rolled(self) -> bool:
        """Whether writing may block; Starlette then writes on a thread."""
        return self._admission.on_disk

    def write(self, data: bytes) -> int:
        """Add bytes."""
        self.size += len(data)
        if not self._rolled:
            self._memory += data
            return len(data)
        if self._file is None:
            self._path, self._file = self._directory.new_file()
            _write_all(self._file, self._memory)
            self._memory = bytearray()
        _write_all(self._file, data)
        return len(data)

    def tell(self) -> int:
        """Where the next bytes go: at the end."""
        return self.size

    def seek(self, offset: int) -> int:
        """Called by Starlette at the end of the recording; nothing is read from here."""
        return offset

    async def append(self, data: bytes) -> None:
        """Add bytes, on a thread if the disk may block."""
        if self._rolled:
            await run_in_threadpool(self.write, data)
        else:
            self.write(data)

    @property
    def source(self) -> bytes | Path:
        """The content, or the file that holds it; the file exists until `close`."""
        return bytes(self._memory) if self._path is None else self._path

    def close(self) -> None:
        """Release the memory or delete the file."""
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()


def _write_all(file: BinaryIO, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:  # a disk that becomes full accepts a part first, and the rest raises
        view = view[file.write(view) :]


@asynccontextmanager
async def receiving(request: Request) -> AsyncIterator[ReceivedRecording]:
    """A place for the recording of a request; it is deleted when the context ends."""
    recording = ReceivedRecording(request.scope["admission"], request.app.state.recordings)
    try:
        yield recording
    finally:
        if request.scope["admission"].on_disk:
            await asyncio.shield(run_in_threadpool(recording.close))
        else:
            recording.close()
