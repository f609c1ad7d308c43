"""The uploads that the page keeps: a quota for all of them and for each client, and an end for each of them.

Gradio deletes the files of complete uploads after an hour. It forgets those that were broken off, and has no quota.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LEAST_BYTES = 64 * 1024
"""A smaller file counts as one of this size, so that the number of files is bounded, too."""


@dataclass(frozen=True, slots=True)
class _Kept:
    client: str
    size: int


class KeptUploads:
    """The files of one upload directory. Thread-safe; each method may block as long as the disk does.

    Parameters
    ----------
    directory : Path
    max_bytes : int
        Quota of all clients.
    client_share : float
        How much of it one client may use.
    """

    def __init__(self, directory: Path, max_bytes: int, client_share: float) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_client_bytes = client_share * max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()  # the oldest first
        self._by_client: dict[str, int] = {}
        self._seen: dict[Path, tuple[int, float]] = {}  # when a sweep found the present version of a file first

    @property
    def bytes(self) -> int:
        """How much the known uploads count."""
        with self._lock:
            return sum(self._by_client.values())

    def add(self, client: str, paths: Iterable[str]) -> None:
        """Note the files of a new upload. If a quota is exceeded now, the oldest files of its cause are deleted."""
        for path in map(Path, paths):
            with suppress(OSError):
                size = max(path.stat().st_size, LEAST_BYTES)
                with self._lock:
                    self._forget(path)  # the same content was sent again
                    self._kept[path] = _Kept(client, size)
                    self._by_client[client] = self._by_client.get(client, 0) + size
        while (oldest := self._over_quota(client)) is not None:
            self._delete(oldest)

    def sweep(self, now: float, keep_seconds: float, unfinished_seconds: float, needed: Iterable[Path] = ()) -> None:
        """Delete files that are too old.

        Parameters
        ----------
        now : float
            On any clock that does not jump. The times of the file system are those of a clock that may.
        keep_seconds : float
            Longest age of an upload.
        unfinished_seconds : float
            Longest time since something was written to an upload that is not complete.
        needed : iterable of Path
            Files of the page itself, which stay.
        """
        stay = set(needed)
        before, self._seen = self._seen, {}
        for path in list(self._directory.rglob("*")):
            with suppress(OSError):
                if path in stay or not path.is_file():
                    continue
                version = path.stat().st_mtime_ns
                known, since = before.get(path, (version, now))
                since = since if known == version else now
                # Gradio writes an upload into the directory itself, and moves it into one of its own at the end
                limit = unfinished_seconds if path.parent == self._directory else keep_seconds
                if now - since > limit:
                    with self._lock:
                        self._forget(path)
                    self._delete(path)
                else:
                    self._seen[path] = (version, since)
        with self._lock:
            for path in [each for each in self._kept if not each.exists()]:  # deleted by Gradio
                self._forget(path)

    def _over_quota(self, client: str) -> Path | None:
        """The file to delete next, which is forgotten; None if every quota is kept."""
        with self._lock:
            if self._by_client.get(client, 0) <= self._max_client_bytes:
                if sum(self._by_client.values()) <= self._max_bytes:
                    return None
                client = max(self._by_client, key=lambda each: self._by_client[each])
            path = next(path for path, kept in self._kept.items() if kept.client == client)
            self._forget(path)
            return path

    def _forget(self, path: Path) -> None:
        if (kept := self._kept.pop(path, None)) is not None:
            left = self._by_client.pop(kept.client) - kept.size
            if left > 0:
                self._by_client[kept.client] = left

    def _delete(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink()
        if path.parent != self._directory:
            with suppress(OSError):  # other files are in it
                path.parent.rmdir()
