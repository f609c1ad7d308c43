"""One row of the table ``tracks`` (docs/batch.md)."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path

STATUSES: tuple[str, ...] = ("waiting", "ok", "failed", "skipped", "stale")
"""Every status that a track may have."""


@dataclass(frozen=True, slots=True)
class TrackRow:
    """One track of a library.

    Attributes
    ----------
    id : int
    path : bytes
        Absolute path, as the system knows it (`os.fsencode`): a name need not be UTF-8.
    name : str
        The path as valid text for people; bytes that are not UTF-8 are escapes.
    status : str
        One of `STATUSES`.
    size : int or None
        Bytes of the file when it was found.
    modified_ns : int or None
        Time of its last change, in nanoseconds since 1970.
    payload : str or None
        Hash of the sound alone, which tags and covers do not change.
    fingerprint : int or None
        Row of ``fingerprints``: what the answer depends on.
    answer : str or None
        JSON as ``ccmusic classify --json`` prints it, with every label of the taxonomy; ``windows`` only if requested.
    genre, probability : str or None, float or None
        The likeliest label of the answer.
    sure_level : int or None
        The finest level of which the answer is sure, 0 if of none; None if the model does not know.
    sure_genre : str or None
        The label at that level.
    odd : str or None
        What the recording seems to be instead of music.
    flags : str or None
        JSON list.
    duration_seconds : float or None
    embedding : bytes or None
        Little-endian float16.
    error_type, error_detail : str or None
        The error as the API gives it; of a skipped file the reason.
    same_as : int or None
        The track with the same sound from which the answer was taken over.
    attempts : int
        How often the file was analysed.
    seconds : float or None
        Time of the analysis.
    finished_at : str or None
        ISO 8601, UTC.
    """

    id: int
    path: bytes
    name: str
    status: str
    size: int | None = None
    modified_ns: int | None = None
    payload: str | None = None
    fingerprint: int | None = None
    answer: str | None = None
    genre: str | None = None
    probability: float | None = None
    sure_level: int | None = None
    sure_genre: str | None = None
    odd: str | None = None
    flags: str | None = None
    duration_seconds: float | None = None
    embedding: bytes | None = None
    error_type: str | None = None
    error_detail: str | None = None
    same_as: int | None = None
    attempts: int = 0
    seconds: float | None = None
    finished_at: str | None = None

    @property
    def file(self) -> Path:
        """The path as Python's functions take it."""
        return Path(os.fsdecode(self.path))


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(TrackRow))
"""Columns of ``tracks``, in the order of the attributes."""


def valid_text(path: bytes) -> str:
    """The path for people: valid text, whatever its bytes."""
    return path.decode("utf-8", "backslashreplace")
