"""The files that the arguments of a batch name: folders, patterns, lists, and single files.

Names are bytes from beginning to end, because a name need not be UTF-8. Of a whole library only one folder's subfolders
at a time are in memory, not its files.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ccmusic.audio.folder import is_recording, recordings_in
from ccmusic.batch.file_lists import LIST_SUFFIXES, listed_paths
from ccmusic.errors import InvalidParameter

_KINDS = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is a pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file of a library.

    Attributes
    ----------
    path : bytes
        Absolute.
    size, modified_ns : int or None
        None of a file that is skipped.
    skipped : str or None
        Why the file is not analysed; None for a regular file.
    """

    path: bytes
    size: int | None = None
    modified_ns: int | None = None
    skipped: str | None = None


def find_files(arguments: Sequence[str], path_column: str = "path") -> Iterator[FoundFile]:
    """Yield what the arguments name; a file that several of them name is yielded several times.

    Parameters
    ----------
    arguments : sequence of str
        A folder stands for the recordings in it and in its subfolders: files with a known suffix that are not hidden.
        Links to folders are not followed inside of it, so there are no loops. A playlist (.m3u, .m3u8) or manifest
        (.csv, .parquet) stands for the files that it lists, and a pattern such as ``music/**/*.mp3`` for the recordings
        that it matches.
    path_column : str
        Column of manifests with the path.

    Raises
    ------
    InvalidParameter
        A pattern matches nothing, or a list cannot be read.
    """
    for argument in arguments:
        path = os.path.abspath(os.fsencode(argument))
        if os.path.lexists(path):
            yield from _named(path, path_column)
        elif glob.has_magic(argument):
            yield from _matching(argument)
        else:
            yield look_at(path)


def look_at(path: bytes) -> FoundFile:
    """Look up one file, which is skipped unless it is a regular file. Never opens it: a pipe would wait."""
    try:
        status = os.stat(path)
    except OSError as error:
        return FoundFile(path, skipped=_reason(error))
    except ValueError:  # a zero byte
        return FoundFile(path.replace(b"\0", b""), skipped="is not a name of a file")
    if not stat.S_ISREG(status.st_mode):
        return FoundFile(path, skipped=_KINDS.get(stat.S_IFMT(status.st_mode), "is not a regular file"))
    return FoundFile(path, status.st_size, status.st_mtime_ns)


def _named(path: bytes, path_column: str) -> Iterator[FoundFile]:
    if os.path.isdir(path):
        yield from _in_folder(path)
    elif os.path.splitext(path)[1].lower() in LIST_SUFFIXES and os.path.isfile(path):
        yield from map(look_at, listed_paths(path, path_column))
    else:
        yield look_at(path)


def _matching(pattern: str) -> Iterator[FoundFile]:
    parts = Path(pattern).parts
    n_plain = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    # not `glob.iglob`: with ** it follows links to folders, and so runs through a loop of them 40 times
    base = Path(*parts[:n_plain])
    found = False
    for match in base.glob(str(Path(*parts[n_plain:]))):
        path = os.path.abspath(os.fsencode(match))
        hidden = any(part.startswith(".") for part in match.relative_to(base).parts)
        if is_recording(os.path.basename(path)) and not hidden and not os.path.isdir(path):
            found = True
            yield look_at(path)
    if not found:
        raise InvalidParameter("PATH", f"{pattern} matches no recording")


def _in_folder(top: bytes) -> Iterator[FoundFile]:
    for found in recordings_in(top):
        if isinstance(found, OSError):
            yield FoundFile(os.fsencode(found.filename), skipped=f"the folder {_reason(found)}")
        else:
            yield look_at(found)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    return f"cannot be read: {error.strerror}"
