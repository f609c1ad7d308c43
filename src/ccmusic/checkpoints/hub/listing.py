"""Which file of a repository is the requested checkpoint, and what its bytes must be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ccmusic.errors import ModelRefused
from ccmusic.models.store import CHECKPOINT_NAME


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a repository, as the hub lists it.

    Attributes
    ----------
    path : str
        Within the repository, with ``/`` between.
    size : int or None
        In bytes.
    sha256 : str or None
        64 hexadecimal digits; None where the hub gives none (Hugging Face: small files outside of LFS).
    """

    path: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """A checkpoint's path in the repository, and the size and hash that its bytes must have."""

    path: str
    size: int
    sha256: str

    @property
    def folder(self) -> str:
        """The checkpoint's folder, one name without a separator."""
        return PurePosixPath(self.path).parts[0]


def expected_file(path: Any, size: Any, sha256: Any) -> ExpectedFile:
    """Validate an entry of a listing, or of a record in the cache, so that no path leaves its folder.

    Raises
    ------
    ModelRefused
        The path is not ``<folder>/save.pt``, or size or hash are missing or malformed.
    """
    if not isinstance(path, str) or not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._-]*/{re.escape(CHECKPOINT_NAME)}", path):
        raise ModelRefused(f"the listing names {path!r}, which is not a checkpoint's path; nothing was fetched")
    if not isinstance(size, int) or size <= 0:
        raise ModelRefused(f"the listing gives no size for {path}: it cannot be checked, and was not fetched")
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ModelRefused(f"the listing gives no SHA-256 for {path}: it cannot be checked, and was not fetched")
    return ExpectedFile(path, size, sha256)


def find_checkpoint(listing: Iterable[RemoteFile], name: str) -> RemoteFile | None:
    """The checkpoint in the folder of this name, or else in the folder of its newest older release.

    Parameters
    ----------
    listing : iterable of RemoteFile
        All files of the repository.
    name : str
        For example ``vgg19_bn_cqt``; older releases append ``_16cls_<date>``.

    Returns
    -------
    RemoteFile or None
        ``<folder>/save.pt``; None when the repository has none.
    """
    dated: dict[str, RemoteFile] = {}
    for file in listing:
        if file.path == f"{name}/{CHECKPOINT_NAME}":
            return file
        release = re.fullmatch(rf"{re.escape(name)}_16cls_([^/\\]+)/{re.escape(CHECKPOINT_NAME)}", file.path)
        if release:
            # the digits alone sort 2023-06-04, 20230604 and 2023_06_04_12_00 by date, year first
            dated[re.sub(r"\D", "", release[1]).ljust(14, "0") + release[1]] = file
    return dated[max(dated)] if dated else None


def checkpoints(listing: Iterable[RemoteFile]) -> list[str]:
    """The folders that hold a checkpoint, sorted."""
    paths = (PurePosixPath(file.path) for file in listing)
    return sorted(str(path.parent) for path in paths if path.name == CHECKPOINT_NAME and len(path.parts) == 2)
