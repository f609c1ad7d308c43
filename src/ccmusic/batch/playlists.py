"""M3U8 playlists of a catalogue, one for each genre and group of genres.

A track is in the playlist of the finest genre that its answer is sure of, and in those of the groups above it: the
playlist Classical has the symphonies too.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO

from ccmusic.batch.certainty import ANSWERED, certainty_of
from ccmusic.batch.disk_errors import temporary_file_errors
from ccmusic.batch.exports import answer_of
from ccmusic.batch.genre_groups import groups_of
from ccmusic.batch.own_playlists import OwnPlaylists
from ccmusic.batch.whole_file import whole_file
from ccmusic.genres import Genre
from ccmusic.process.log_lines import one_line

if TYPE_CHECKING:
    from ccmusic.batch.track_row import TrackRow

MOST_PLAYLISTS = 400
"""Of one export; a file is open for each. Tracks of further genres are counted, and left out."""

MOST_NAME_BYTES = 120
"""Of a playlist's file name without the suffix."""

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')


@dataclass
class Playlists:
    """What an export wrote.

    Attributes
    ----------
    n_tracks : int
        Tracks that are in a playlist.
    files : list of Path
    removed : list of Path
        Playlists of an earlier export of the same catalogue, of genres that no track has now.
    left_out : Counter of str
        Tracks that are in none, by reason: ``not sure``, ``name`` (not UTF-8, or with a line end), ``too many genres``.
    """

    n_tracks: int = 0
    files: list[Path] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def write_playlists(tracks: Iterable[TrackRow], folder: Path, catalogue: Path, *, unsure: bool = False) -> Playlists:
    """Write one playlist for each genre into `folder`.

    Parameters
    ----------
    tracks : iterable of TrackRow
        Those without an answer of the file as it is are ignored.
    folder : Path
        Made if it is missing. Playlists of the same name are replaced. Unchanged ones that an earlier export of this
        catalogue wrote are removed if their genre is gone, and no track waits or is stale; all others stay.
    catalogue : Path
        The folder of the catalogue.
    unsure : bool
        Whether tracks whose answer is sure of nothing (`ccmusic.batch.certainty`) go into the playlist of their
        likeliest genre.

    Raises
    ------
    InsufficientStorage
        No space is left there, or for temporary files.
    InvalidParameter
        The folder cannot be written.
    """
    report = Playlists()
    own = OwnPlaylists(catalogue)
    is_known = True
    with temporary_file_errors(), ExitStack() as stack:
        lists: dict[str, BinaryIO] = {}
        names: dict[str, str] = {}
        for track in tracks:
            is_known &= track.status not in ("waiting", "stale")
            if track.status not in ANSWERED:
                continue
            groups = _groups(track.status, answer_of(track), unsure=unsure)
            entry = _entry(track, folder)
            if not groups or entry is None:
                report.left_out["not sure" if not groups else "name"] += 1
                continue
            # the same label at two levels is one playlist
            by_label = {group.label: group for group in groups}
            known = [label for label in by_label if label in lists or len(lists) < MOST_PLAYLISTS]
            report.left_out["too many genres"] += not known
            report.n_tracks += bool(known)
            for label in known:
                if label not in lists:
                    lists[label] = stack.enter_context(TemporaryFile())
                    names[label] = by_label[label].label_en
                    lists[label].write(_title(names[label]))
                lists[label].write(entry)
        for label, file_name in _file_names(names).items():
            path = folder / f"{file_name}.m3u8"
            with whole_file(path) as out:
                own.write(path.name, lists[label], out)
            report.files.append(path)
    # the genre of a track that waits or is stale is not known, and so not gone
    if is_known and not report.left_out["too many genres"]:
        report.removed = own.remove_others(folder, report.files)
    return report


def _title(name: str) -> bytes:
    return f"#PLAYLIST:{one_line(name)}\n".encode("utf-8", "backslashreplace")


def _groups(status: str, answer: dict[str, Any], *, unsure: bool) -> tuple[Genre, ...]:
    sure = certainty_of(status, answer)
    if sure.why_not and not unsure:
        return ()
    return groups_of(answer["taxonomy"], sure.level or answer["level"], sure.label)


def _entry(track: TrackRow, folder: Path) -> bytes | None:
    """Two lines of a playlist; None if no player could find the file by them."""
    try:
        track.path.decode()
    except UnicodeDecodeError:
        return None
    if re.search(rb"[\r\n]", track.path):
        return None
    title = one_line(track.file.stem).encode()
    return b"#EXTINF:%d,%s\n%s\n" % (round(track.duration_seconds or -1), title, _place(track.path, folder))


def _place(path: bytes, folder: Path) -> bytes:
    """The path from the folder of the playlist, so that both may move; whole if they share only the root."""
    start = os.fsencode(folder.absolute())
    if os.path.commonpath([start, path]) == b"/":
        return path
    relative = os.path.relpath(path, start)
    first = relative.split(b"/", 1)[0]
    # a comment, a space that players remove, or what looks like the beginning of an address
    return b"./" + relative if first[:1] in b"# \t" or b":" in first else relative


def _file_names(names: dict[str, str]) -> dict[str, str]:
    """A safe file name for each label, no two alike on systems that ignore case."""
    taken: set[str] = set()
    found = {}
    for label, name in sorted(names.items()):
        safe = plain = safe_name(name)
        count = 1
        while safe.casefold() in taken:
            count += 1
            safe = f"{plain} ({count})"
        taken.add(safe.casefold())
        found[label] = safe
    return found


def safe_name(name: str) -> str:
    """A file name that every usual file system accepts, without its suffix.

    What is not allowed becomes ``-``. Spaces and dots at either end are removed, names of devices begin with ``_``, and
    what is longer than `MOST_NAME_BYTES` is cut.
    """
    safe = _NOT_IN_NAMES.sub("-", unicodedata.normalize("NFC", name))
    safe = safe.encode()[:MOST_NAME_BYTES].decode(errors="ignore").strip(" .")
    return f"_{safe}" if not safe or _RESERVED.fullmatch(safe) else safe
