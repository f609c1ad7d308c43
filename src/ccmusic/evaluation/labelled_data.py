"""Reads labelled recordings: a folder per label, or a CSV with a row per recording.

::

    music/blues/robert/crossroad.mp3        label blues, artist robert
    music/blues/one.mp3                     label blues, no artist

    path,label,artist,decade                a path is relative to the CSV's own folder
    crossroad.mp3,blues,robert,1930
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ccmusic.audio.folder import is_recording
from ccmusic.errors import InvalidParameter


@dataclass(frozen=True)
class Columns:
    """Column names of a CSV; the artist column is optional."""

    path: str = "path"
    label: str = "label"
    artist: str = "artist"


@dataclass(frozen=True)
class LabelledRecording:
    """One recording and its label.

    Attributes
    ----------
    path : Path
        Absolute.
    label : str
    artist : str or None
        The unit that must not be on both sides of a split.
    columns : dict of str to str
        The CSV's row.
    """

    path: Path
    label: str
    artist: str | None = None
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelledData:
    """Recordings in the order of their source.

    Attributes
    ----------
    recordings : tuple of LabelledRecording
    notes : tuple of str
        Remarks for the reader: skipped files, missing artists.
    """

    recordings: tuple[LabelledRecording, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.recordings)

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label once, sorted."""
        return tuple(sorted({recording.label for recording in self.recordings}))

    @property
    def has_artists(self) -> bool:
        """Whether every recording has an artist."""
        return all(recording.artist is not None for recording in self.recordings)

    @property
    def units(self) -> np.ndarray:
        """Units that are drawn and split as a whole, [shape=(n,), dtype=int]: artists, and recordings without one."""
        names = [("artist", r.artist) if r.artist is not None else ("path", str(r.path)) for r in self.recordings]
        number = {name: index for index, name in enumerate(dict.fromkeys(names))}
        return np.array([number[name] for name in names], dtype=int)

    def reference(self, labels: Sequence[str]) -> np.ndarray:
        """Each recording's label as an index into `labels`, [shape=(n,), dtype=int]."""
        place = {label: index for index, label in enumerate(labels)}
        return np.array([place[recording.label] for recording in self.recordings], dtype=int)

    def select(self, rows: Sequence[int] | np.ndarray) -> LabelledData:
        """Some of the recordings, in the order of `rows`."""
        return LabelledData(tuple(self.recordings[row] for row in rows), self.notes)


def read_labelled(source: Path, columns: Columns = Columns()) -> LabelledData:
    """Read a folder or a CSV.

    Parameters
    ----------
    source : Path
        A folder with one folder per label, in which folders are artists; or a CSV in UTF-8 with a header.
    columns : Columns
        Of the CSV.

    Returns
    -------
    LabelledData
        No recording is opened yet; a missing file is found later.

    Raises
    ------
    InvalidParameter
        The source is missing or has no recordings, or a row lacks path or label.
    """
    if source.is_dir():
        data = _from_folders(source)
    elif source.is_file():
        data = _from_csv(source, columns)
    else:
        raise InvalidParameter("--data", f"must name a folder or a CSV file, not {source}")
    if not data.recordings:
        raise InvalidParameter(
            "--data", f"has no labelled recordings: {source}; put each label's into a folder of its own"
        )
    return data


def _from_folders(source: Path) -> LabelledData:
    recordings, other, at_the_top = [], Counter[str](), 0
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        place = path.relative_to(source).parts
        if any(part.startswith(".") for part in place):
            continue
        if not is_recording(os.fsencode(path.name)):
            other[path.suffix.lower() or path.name] += 1
        elif len(place) == 1:
            at_the_top += 1
        else:
            recordings.append(LabelledRecording(path.absolute(), place[0], place[1] if len(place) > 2 else None))
    notes = []
    if other:
        notes.append(f"{other.total()} files were skipped, because of their names: {', '.join(sorted(other))}")
    if at_the_top:
        notes.append(f"{at_the_top} recordings are outside the label folders and have no label: left out")
    return _labelled_data(recordings, notes, "folders inside a label's folder name artists")


def _from_csv(source: Path, columns: Columns) -> LabelledData:
    recordings = []
    try:
        # utf-8-sig: spreadsheets write a byte order mark
        with source.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or ()
            if missing := [name for name in (columns.path, columns.label) if name not in names]:
                raise InvalidParameter(
                    "--data", f"{source} has no column {missing[0]!r}, only {', '.join(names) or 'nothing'}"
                )
            for row in reader:
                path, label = (row[columns.path] or "").strip(), (row[columns.label] or "").strip()
                if not path or not label:
                    raise InvalidParameter("--data", f"{source}, line {reader.line_num}: path or label is empty")
                artist = (row.get(columns.artist) or "").strip() or None
                values = {name: value or "" for name, value in row.items() if name is not None}
                recordings.append(LabelledRecording((source.parent / path).absolute(), label, artist, values))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidParameter("--data", f"{source} is not a CSV file in UTF-8: {error}") from error
    return _labelled_data(recordings, [], f"the column {columns.artist!r} names artists")


def _labelled_data(recordings: list[LabelledRecording], notes: list[str], hint: str) -> LabelledData:
    without = sum(recording.artist is None for recording in recordings)
    if without:
        notes.append(
            f"{without} recordings have no artist, and each counts as an artist of its own: if one artist has several, "
            f"the scores are too good ({hint})"
        )
    return LabelledData(tuple(recordings), tuple(notes))
