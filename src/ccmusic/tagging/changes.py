"""One change of the tags of one file: checked before and after, noted in the journal, done whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccmusic.audio.payload_hash import payload_hash
from ccmusic.batch.disk_errors import is_full
from ccmusic.errors import CcmusicError, InsufficientStorage, InvalidParameter, TagError
from ccmusic.tagging.fields import Fields, read_fields
from ccmusic.tagging.journal import Journal
from ccmusic.tagging.replacement import OnStep, copy_name, locked, replace_file
from ccmusic.tagging.second_reader import TELLS_NO_GENRE, read_sound


@dataclass(frozen=True, slots=True)
class TagOutcome:
    """What became of a file.

    Parameters
    ----------
    path : Path
    what : str
        ``written``, ``as planned`` (it was so already) or ``left``.
    reason : str
        Why it was left.
    """

    path: Path
    what: str
    reason: str = ""


def attempt(path: Path, work: Callable[[], str]) -> TagOutcome:
    """Run the change of one file; what is wrong with this file alone is its outcome.

    Raises
    ------
    InsufficientStorage
        The disk is full: the next file would meet the same.
    """
    try:
        return TagOutcome(path, work())
    except InvalidParameter as error:
        return TagOutcome(path, "left", error.reason)
    except CcmusicError as error:
        return TagOutcome(path, "left", str(error))
    except OSError as error:
        if is_full(error):
            raise InsufficientStorage(
                f"No space is left for the copy of {path}, or for the journal. The file is as it was. Make room, and "
                "give the same command again."
            ) from error
        return TagOutcome(path, "left", f"cannot be changed: {error.strerror}")


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to a file.

    Parameters
    ----------
    write : callable
        Changes the tags of the copy.
    expected : callable
        Gets the fields of the copy; returns whether they are as they should be.
    about : dict
        Noted in the journal.
    """

    write: Callable[[Path], object]
    expected: Callable[[Fields], bool]
    about: dict[str, Any]


def real_path(path: Path) -> Path:
    """The file for which a path stands: a symbolic link stays, and the file that it names is changed."""
    return Path(os.path.realpath(path))


def make_change(
    journal: Journal,
    path: Path,
    look: Callable[[Path], Change | str],
    *,
    keeps_times: bool = True,
    on_step: OnStep,
) -> str:
    """Change a file, and return what became of it.

    Parameters
    ----------
    journal : Journal
    path : Path
        Without symbolic links.
    look : callable
        Looks at the locked file; returns what to do, or the outcome if there is nothing to do.
    keeps_times : bool
    on_step : callable

    Raises
    ------
    CcmusicError, OSError
        The file is as it was.
    """
    with locked(path) as about:
        on_step("locked")
        planned = look(path)
        if isinstance(planned, str):
            return planned
        before, sound, payload = read_fields(path), read_sound(path), payload_hash(path)

        def check(copy: Path) -> None:
            fields = read_fields(copy)
            if not planned.expected(fields):
                raise TagError(f"The copy does not hold what was written: {', '.join(fields.genres) or 'no genre'}.")
            if fields.others != before.others:
                raise TagError("Other fields of the tags would change.")
            if payload_hash(copy) != payload:
                raise TagError("The sound would change.")
            _check_by_second_reader(copy, fields, sound)

        copy = path.with_name(copy_name())
        change = journal.begin(path, copy.name, before=before.raw, genres_before=before.genres, **planned.about)
        on_step("begun")
        try:
            replace_file(
                path,
                copy,
                about,
                planned.write,
                check,
                lambda content: journal.renaming(change, content),
                keeps_times=keeps_times,
                on_step=on_step,
            )
        except Exception as error:
            journal.dropped(change, str(error))
            raise
        journal.done(change)
        on_step("done")
    return "written"


def _check_by_second_reader(copy: Path, fields: Fields, before: Any) -> None:
    if before is None:
        return
    found = read_sound(copy)
    if found is None or found[0] != before[0]:
        raise TagError("Another reader would not find the same sound.")
    first = fields.genres[0] if fields.genres else ""
    if fields.container not in TELLS_NO_GENRE and not (found[1] or "").startswith(first):
        raise TagError(f"Another reader would find the genre {found[1]!r}.")
