"""What a repository says it holds, and which of it is the checkpoint that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ccmusic.errors import ModelRefused

CHECKPOINT_FILE = "save.pt"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a repository, as the repository's listing promises it.

    Attributes
    ----------
    path : str
        Within the repository, with ``/`` between.
    size : int or None
        Bytes.
    sha256 : str or None
        64 hexadecimal digits; None where the hub gives none (Hugging Face: small files outside of LFS).
    """

    path: str
    size: int | None = None
    sha256: str | None = None

    @property
    def folder(self) -> str:
        """The folder that holds it."""
        return str(PurePosixPath(self.path).parent)


@dataclass(frozen=True, slots=True)
class Promise:
    """What the bytes of a checkpoint must be: where it lies in the repository, its size and its hash."""

    path: str
    size: int
    sha256: str

    @property
    def folder(self) -> str:
        """The checkpoint's folder, one name without a separator."""
        return PurePosixPath(self.path).parts[0]


def promise(path: Any, size: Any, sha256: Any) -> Promise:
    """Believe of a listing, or of a record in the cache, only what cannot lead anywhere else.

    Raises
    ------
    ModelRefused
        The path leaves its folder, or size or hash are missing or no such thing.
    """
    if not isinstance(path, str) or not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._-]*/{re.escape(CHECKPOINT_FILE)}", path):
        raise ModelRefused(f"the listing names {path!r}, which is no checkpoint's place; nothing was fetched")
    if not isinstance(size, int) or size <= 0:
        raise ModelRefused(f"the listing gives no size for {path}: it cannot be checked, and was not fetched")
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ModelRefused(f"the listing gives no SHA-256 for {path}: it cannot be checked, and was not fetched")
    return Promise(path, size, sha256)


def find_checkpoint(listing: Iterable[RemoteFile], name: str) -> RemoteFile | None:
    """The checkpoint of this name: the folder so called, else the newest of its older releases.

    Parameters
    ----------
    listing : iterable of RemoteFile
        Everything in the repository.
    name : str
        For example ``vgg19_bn_cqt``; older releases append ``_16cls_<date>``.

    Returns
    -------
    RemoteFile or None
        ``<folder>/save.pt``; None when the repository has none.
    """
    dated: dict[str, RemoteFile] = {}
    for file in listing:
        if file.path == f"{name}/{CHECKPOINT_FILE}":
            return file
        release = re.fullmatch(rf"{re.escape(name)}_16cls_([^/\\]+)/{re.escape(CHECKPOINT_FILE)}", file.path)
        if release:
            # 2023-06-04, 20230604 and 2023_06_04_12_00 sort alike by their digits, year first
            dated[re.sub(r"\D", "", release[1]).ljust(14, "0") + release[1]] = file
    return dated[max(dated)] if dated else None


def checkpoints(listing: Iterable[RemoteFile]) -> list[str]:
    """The folders that hold a checkpoint, sorted."""
    paths = (PurePosixPath(file.path) for file in listing)
    return sorted(str(path.parent) for path in paths if path.name == CHECKPOINT_FILE and len(path.parts) == 2)
