"""Downloads one file: resumes a partial one, limits its size, checks its hash, and renames it when it is complete."""

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

from ccmusic.checkpoints.hub.http import Download, Interrupted, RetryPolicy, describe, get, unreachable
from ccmusic.checkpoints.hub.listing import ExpectedFile
from ccmusic.errors import CacheUnwritable, HubUnreachable, ModelRefused
from ccmusic.models.store import file_sha256

CHUNK_BYTES = 2**20


def fetch(download: Download, expected: ExpectedFile, path: Path, *, progress: bool, retry_policy: RetryPolicy) -> None:
    """Download a file; continue an earlier download that is in ``<path>.incomplete``.

    Parameters
    ----------
    download : Download
    expected : ExpectedFile
        Size and hash that the bytes must have.
    path : Path
        Its directory exists, and is for this hash only, so that a partial file in it is a part of this one.
    progress : bool
        Show a progress bar, if standard error is a terminal.
    retry_policy : RetryPolicy

    Raises
    ------
    HubUnreachable
        Too many tries failed; what was received is kept for the next call.
    ModelRefused
        The hub sent other bytes than expected; they are removed.
    CacheUnwritable
        No space left, or no permission to write; what was received is kept.
    Denied
        The hub refuses the file.
    """
    from tqdm import tqdm  # imported late: takes 50 ms, which a cached model does not need

    partial = path.with_name(path.name + ".incomplete")
    with cache_errors(path):
        if _size(partial) > expected.size:
            partial.unlink()
        _check_free_space(expected.size - _size(partial), path.parent)
        with tqdm(
            total=expected.size,
            initial=_size(partial),
            desc=expected.folder,
            unit="B",
            unit_scale=True,
            disable=None if progress else True,  # None: shown on a terminal only
        ) as bar:
            _receive_all(download, expected, partial, bar, retry_policy)
        if (digest := file_sha256(partial)) != expected.sha256:
            partial.unlink()
            raise ModelRefused(
                f"{expected.path} came with SHA-256 {digest[:12]}..., the hub lists {expected.sha256[:12]}...; "
                "it was removed. Pull again; if that fails too, use the other hub or no mirror"
            )
        partial.replace(path)


@contextmanager
def cache_errors(path: Path) -> Iterator[None]:
    """Turn errors of the file system into one that says what the operator can do.

    Raises
    ------
    CacheUnwritable
        In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CacheUnwritable(
                f"{path} cannot be written: {error.strerror}. Free some space there, or name another cache directory; "
                "what was received is kept, and the next pull resumes from there"
            ) from error
        raise CacheUnwritable(
            f"{path} cannot be read or written: {error.strerror or error}. Give this user permission, or name another "
            "cache directory"
        ) from error


def _receive_all(
    download: Download, expected: ExpectedFile, partial: Path, bar: Any, retry_policy: RetryPolicy
) -> None:
    """Send requests until all bytes are there."""
    n_failed = 0
    while (received := _size(partial)) < expected.size:
        try:
            _receive_response(download, expected, partial, bar, retry_policy)
        except Interrupted as failure:
            n_failed = 0 if _size(partial) > received else n_failed + 1
            if n_failed >= retry_policy.attempts:
                raise HubUnreachable(
                    f"{unreachable(expected.path, failure, n_failed)}. {_size(partial)} of {expected.size} bytes are "
                    "kept: pull again to resume from there"
                ) from failure
            retry_policy.pause(max(n_failed, 1), failure.retry_after_seconds)


def _receive_response(
    download: Download, expected: ExpectedFile, partial: Path, bar: Any, retry_policy: RetryPolicy
) -> None:
    """Append one response to the partial file, until it ends or the connection breaks."""
    received = _size(partial)
    with get(download, retry_policy, first_byte=received) as response, partial.open("ab", buffering=0) as file:
        position = _first_byte(response, received, expected)
        if position != received:
            file.truncate(position)
            bar.update(position - received)
        while chunk := _read_chunk(response):
            position += len(chunk)
            if position > expected.size:
                partial.unlink()
                raise ModelRefused(
                    f"{expected.path} has more than its {expected.size} bytes; it was removed: pull again"
                )
            _write(file.fileno(), chunk)
            bar.update(len(chunk))
    if position < expected.size:
        raise Interrupted("the connection ended early")


def _first_byte(response: http.client.HTTPResponse, received: int, expected: ExpectedFile) -> int:
    """Where in the file this response begins; refuses a response that is not a part of the file."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range") or "")
    if response.status == 206 and match:
        begin, total = int(match[1]), int(match[2])
    elif response.status == 200:  # the server does not support Range: the whole file again
        begin, total = 0, int(response.headers.get("Content-Length") or expected.size)
    else:
        raise ModelRefused(f"{expected.path}: the hub answers with status {response.status} and no file; try another")
    if total != expected.size:
        raise ModelRefused(
            f"{expected.path} has {total} bytes, but {expected.size} in the hub's own listing; nothing of it is kept: "
            "try again later, or the other hub"
        )
    if begin not in (0, received):
        raise ModelRefused(
            f"{expected.path}: the hub sends from byte {begin}, not from {received} as requested; try another"
        )
    return begin


def _read_chunk(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(describe(error)) from error


def _write(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _check_free_space(needed: int, directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise CacheUnwritable(
            f"{directory} has {free / 1e6:.0f} MB free, and {needed / 1e6:.0f} MB are still to be fetched: free some "
            "space, or name another cache directory"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
