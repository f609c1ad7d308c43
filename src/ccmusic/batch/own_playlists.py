"""Which playlists in a folder did an earlier export of the same catalogue write, and nobody has changed since?

Their second line has a hash over the folder of the catalogue, the name of the file, and all lines after it. A playlist
that a person or a player has changed, renamed or copied, or that is of another catalogue, has another hash.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ccmusic.batch.disk_errors import disk_errors

HEADER = b"#EXTM3U\n#CCMUSIC:"
"""Both lines are comments for players, which expect the first."""

_BLOCK_BYTES = 1 << 20


class OwnPlaylists:
    """The playlists of one catalogue.

    Parameters
    ----------
    catalogue : Path
        Its folder.
    """

    def __init__(self, catalogue: Path) -> None:
        self._catalogue = os.fsencode(catalogue.resolve())

    def write(self, name: str, lines: BinaryIO, out: BinaryIO) -> None:
        """Write a playlist.

        Parameters
        ----------
        name : str
            Of its file.
        lines : BinaryIO
            All but the first two; it is read twice.
        out : BinaryIO
        """
        lines.seek(0)
        out.write(HEADER + self._hash(name, lines) + b"\n")
        lines.seek(0)
        for block in _blocks(lines):
            out.write(block)

    def remove_others(self, folder: Path, kept: Iterable[Path]) -> list[Path]:
        """Remove the own playlists of a folder, but for these.

        Returns
        -------
        list of Path
            What was removed.

        Raises
        ------
        InvalidParameter
            One cannot be removed.
        """
        names = {path.name.casefold() for path in kept}  # a file system may ignore case
        found = [path for path in sorted(folder.glob("*.m3u8")) if path.name.casefold() not in names]
        removed = [path for path in found if self._is_own(path)]
        for path in removed:
            with disk_errors(path, "--out"):
                path.unlink(missing_ok=True)
        return removed

    def _is_own(self, path: Path) -> bool:
        if path.is_symlink() or not path.is_file():
            return False
        try:
            with path.open("rb") as file:
                if file.read(len(HEADER)) != HEADER:
                    return False
                written = file.readline(_BLOCK_BYTES)
                return written == self._hash(path.name, file) + b"\n"
        except OSError:  # what cannot be read is not known to be ours
            return False

    def _hash(self, name: str, lines: BinaryIO) -> bytes:
        found = hashlib.sha256(self._catalogue + b"\0" + os.fsencode(name) + b"\0")
        for block in _blocks(lines):
            found.update(block)
        return found.hexdigest().encode()


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK_BYTES):
        yield block
