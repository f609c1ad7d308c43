"""Fetching one file: begun where the last try was cut, bounded, checked by its hash, and put in place whole."""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ccmusic.checkpoints.hub.listing import Promise
from ccmusic.checkpoints.hub.wire import Download, Interrupted, RetryPolicy, get, unreachable, words
from ccmusic.errors import CacheUnwritable, HubUnreachable, ModelRefused
from ccmusic.models.store import file_sha256

PIECE_BYTES = 2**20


def fetch(download: Download, promised: Promise, place: Path, *, progress: bool, patience: RetryPolicy) -> None:
    """Bring a file to its place; what an earlier try left in ``<place>.incomplete`` is not fetched again.

    Parameters
    ----------
    download : Download
    promised : Promise
        What the bytes must be. `place` belongs to this hash alone, so a part that lies there is a part of it.
    place : Path
        Its directory exists.
    progress : bool
        Show a bar, if standard error is a terminal.
    patience : RetryPolicy

    Raises
    ------
    HubUnreachable
        The hub fell silent for good; what was received is kept for the next call.
    ModelRefused
        The hub sent other bytes than promised; they are removed.
    CacheUnwritable
        No room, or no right to write; what was received is kept.
    Denied
        The hub refuses the file.
    """
    from tqdm import tqdm  # late: with its imports 50 ms that a cached model need not wait for

    partial = place.with_name(place.name + ".incomplete")
    with keeping(place):
        if _size(partial) > promised.size:
            partial.unlink()
        _look_for_room(promised.size - _size(partial), place.parent)
        with tqdm(
            total=promised.size,
            initial=_size(partial),
            desc=promised.folder,
            unit="B",
            unit_scale=True,
            disable=None if progress else True,  # None: shown on a terminal only
        ) as bar:
            _to_the_end(download, promised, partial, bar, patience)
        if (digest := file_sha256(partial)) != promised.sha256:
            partial.unlink()
            raise ModelRefused(
                f"{promised.path} came with SHA-256 {digest[:12]}..., the hub promises {promised.sha256[:12]}...; "
                "it was removed. Pull again; if it stays so, take it from the other hub or without the mirror"
            )
        partial.replace(place)


@contextmanager
def keeping(path: Path) -> Iterator[None]:
    """Tell what this machine does not let us keep, and what to do about it.

    Raises
    ------
    CacheUnwritable
        In place of any error of the system.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CacheUnwritable(
                f"{path} cannot be written: {error.strerror}. Make room there, or name another cache directory; "
                "what was received is kept, and the next pull goes on from there"
            ) from error
        raise CacheUnwritable(
            f"{path} cannot be read or written: {error.strerror or error}. Give this user the right to, or name "
            "another cache directory"
        ) from error


def _to_the_end(download: Download, promised: Promise, partial: Path, bar: Any, patience: RetryPolicy) -> None:
    """Answer after answer, until all bytes are there."""
    n_failed = 0
    while (have := _size(partial)) < promised.size:
        try:
            _continue(download, promised, partial, bar, patience)
        except Interrupted as failure:
            n_failed = 0 if _size(partial) > have else n_failed + 1
            if n_failed >= patience.attempts:
                raise HubUnreachable(
                    f"{unreachable(promised.path, failure, n_failed)}. {_size(partial)} of {promised.size} bytes are "
                    "kept: pull again, and it goes on from there"
                ) from failure
            patience.pause(max(n_failed, 1), failure.retry_after_seconds)


def _continue(download: Download, promised: Promise, partial: Path, bar: Any, patience: RetryPolicy) -> None:
    """One answer of the hub, to its end or to where it is cut."""
    have = _size(partial)
    with get(download, patience, begin=have) as response, partial.open("ab", buffering=0) as file:
        begin = _begin(response, have, promised)
        if begin != have:
            file.truncate(begin)
            bar.update(begin - have)
        while piece := _piece(response):
            begin += len(piece)
            if begin > promised.size:
                partial.unlink()
                raise ModelRefused(
                    f"{promised.path} goes on after its {promised.size} bytes; it was removed: pull again"
                )
            _write(file.fileno(), piece)
            bar.update(len(piece))
    if begin < promised.size:
        raise Interrupted("the connection ended early")


def _begin(response: http.client.HTTPResponse, have: int, promised: Promise) -> int:
    """Where in the file this answer begins, if it is an answer about this file."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range") or "")
    if response.status == 206 and match:
        begin, total = int(match[1]), int(match[2])
    elif response.status == 200:  # it does not know Range: the whole file again
        begin, total = 0, int(response.headers.get("Content-Length") or promised.size)
    else:
        raise ModelRefused(f"{promised.path}: the hub answers with status {response.status} and no file; try another")
    if total != promised.size:
        raise ModelRefused(
            f"{promised.path} has {total} bytes, the hub's own listing says {promised.size}; nothing of it is kept: "
            "try again later, or the other hub"
        )
    if begin not in (0, have):
        raise ModelRefused(f"{promised.path}: the hub sends from byte {begin} when asked from {have}; try another")
    return begin


def _piece(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(PIECE_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(words(error)) from error


def _write(descriptor: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _look_for_room(wanted: int, directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if free < wanted:
        raise CacheUnwritable(
            f"{directory} has {free / 1e6:.0f} MB free, {wanted / 1e6:.0f} MB are still to be fetched: make room, or "
            "name another cache directory"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
