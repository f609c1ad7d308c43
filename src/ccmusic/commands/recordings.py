"""The recordings that the arguments of a command name: files, folders of them, pipes, and ``-`` for standard input."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ccmusic.audio.folder import recordings_in
from ccmusic.errors import CcmusicError, InvalidParameter, UploadTooLarge

STANDARD_INPUT = "-"


class FoundRecording(NamedTuple):
    """One recording.

    Attributes
    ----------
    name : Path
        As the user knows it.
    source : Path or bytes or CcmusicError
        The file; the content of a pipe, which can be read only once and only by this process; or why there is none.
    """

    name: Path
    source: Path | bytes | CcmusicError


def find_recordings(arguments: Sequence[str], most_bytes: int) -> list[FoundRecording]:
    """Replace each folder by the recordings in it and in its subfolders, and each pipe by its content.

    A recording in a folder is a file with a known suffix. Hidden files and folders are skipped. An argument that is not
    a folder stays, whatever its suffix.

    Parameters
    ----------
    arguments : sequence of str
    most_bytes : int
        Of a pipe, which may have no end.

    Returns
    -------
    list of FoundRecording
        In the order of the arguments, and sorted within a folder.
    """
    return [
        found
        for argument in arguments
        for found in (
            _in_folder(Path(argument)) if stat.S_ISDIR(_mode(Path(argument))) else [named(argument, most_bytes)]
        )
    ]


def named(argument: str, most_bytes: int) -> FoundRecording:
    """The recording that one argument names; a folder is not replaced."""
    name = Path(argument)
    try:
        return FoundRecording(name, _source(argument, most_bytes))
    except CcmusicError as error:
        return FoundRecording(name, error)


def _source(argument: str, most_bytes: int) -> Path | bytes:
    if argument == STANDARD_INPUT:
        if sys.stdin.isatty():
            raise InvalidParameter(
                "-", "is standard input, which is a terminal: send a recording, as in `... - < song.mp3`"
            )
        return _content(sys.stdin.buffer, most_bytes)
    path = Path(argument)
    mode = _mode(path)
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return path
    try:
        with path.open("rb") as pipe:
            return _content(pipe, most_bytes)
    except OSError as error:
        raise InvalidParameter("pipe", f"cannot be read: {error.strerror}") from error


def _mode(path: Path) -> int:
    """Return the kind of file; 0 if it cannot be looked up: then opening the file says why."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _content(pipe: BinaryIO, most_bytes: int) -> bytes:
    content = pipe.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise UploadTooLarge(
            f"The pipe has more than the {most_bytes:,} bytes that are accepted (CCMUSIC_MAX_UPLOAD_BYTES); save its "
            "content to a file, which may be larger."
        )
    return content


def _in_folder(folder: Path) -> list[FoundRecording]:
    unreadable: list[FoundRecording] = []
    paths: list[Path] = []
    for found_there in recordings_in(os.fsencode(folder)):
        if isinstance(found_there, OSError):
            reason = InvalidParameter("folder", f"cannot be read: {found_there.strerror}")
            unreadable.append(FoundRecording(Path(os.fsdecode(found_there.filename)), reason))
        else:
            paths.append(Path(os.fsdecode(found_there)))
    found = [FoundRecording(path, path) for path in sorted(paths)]
    if not found and not unreadable:
        reason = InvalidParameter(
            "folder",
            "has no recordings: no file in it has a suffix of one, such as .mp3; name other files one by one",
        )
        return [FoundRecording(folder, reason)]
    return found + unreadable
