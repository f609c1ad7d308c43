"""The catalogue of a library: one SQLite database in the folder of results (docs/batch.md has its tables).

A run is its only writer, and commits each result with its row. Any number of other processes may read meanwhile.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ccmusic.batch.disk_errors import full_disk
from ccmusic.batch.track_row import COLUMNS, STATUSES, TrackRow
from ccmusic.errors import CatalogueError, InsufficientStorage

CATALOGUE_NAME = "catalogue.sqlite3"

SCHEMA_VERSION = 1
"""`PRAGMA user_version` of the database."""

BUSY_SECONDS = 30.0
"""Longest wait for another process that holds the database for a moment."""

SCHEMA = """
CREATE TABLE fingerprints (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    fingerprint INTEGER NOT NULL REFERENCES fingerprints (id),
    started_at TEXT NOT NULL,
    ended_at TEXT,
    ended_how TEXT,
    command TEXT NOT NULL,
    found INTEGER,
    analysed INTEGER NOT NULL DEFAULT 0,
    updated_at TEXT NOT NULL
);
CREATE TABLE tracks (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('waiting', 'ok', 'failed', 'skipped', 'stale')),
    size INTEGER,
    modified_ns INTEGER,
    payload TEXT,
    fingerprint INTEGER REFERENCES fingerprints (id),
    genre TEXT,
    probability REAL,
    sure_level INTEGER,
    sure_genre TEXT,
    odd TEXT,
    flags TEXT,
    duration_seconds REAL,
    error_type TEXT,
    error_detail TEXT,
    same_as INTEGER REFERENCES tracks (id),
    attempts INTEGER NOT NULL DEFAULT 0,
    seconds REAL,
    finished_at TEXT,
    -- the large ones are last, so that reading the others does not read them
    embedding BLOB,
    answer TEXT
);
CREATE INDEX tracks_by_status ON tracks (status);
CREATE INDEX tracks_by_fingerprint ON tracks (fingerprint, status);
CREATE INDEX tracks_by_payload ON tracks (payload) WHERE payload IS NOT NULL;
"""


class Catalogue:
    """An open catalogue.

    Parameters
    ----------
    connection : sqlite3.Connection
        Of this thread alone.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    @classmethod
    def open(cls, folder: Path, read_only: bool = False) -> Self:
        """Open the catalogue in `folder`.

        Parameters
        ----------
        folder : Path
        read_only : bool
            Whether nothing is written, also not a missing catalogue. Works in a folder that cannot be written to.

        Raises
        ------
        CatalogueError
            There is no catalogue, or it is of another version, or no database.
        InsufficientStorage
        """
        with catalogue_errors(folder):
            try:
                with full_disk(folder, "--out"):
                    connection = _reader(folder) if read_only else _writer(folder)
            except OSError as error:
                raise CatalogueError(f"{folder} cannot be used: {error.strerror}") from error
        return cls(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    def tracks(self, status: str | None = None) -> Iterator[TrackRow]:
        """All tracks, or those with a status, by id.

        They are those of the moment at which the iteration begins, and one at a time is in memory.
        """
        where, values = ("", ()) if status is None else ("WHERE status = ?", (status,))
        rows = self.connection.execute(f"SELECT {', '.join(COLUMNS)} FROM tracks {where} ORDER BY id", values)  # noqa: S608
        return (TrackRow(*row) for row in rows)

    def track(self, track_id: int) -> TrackRow | None:
        """The track with this id."""
        found = self.connection.execute(f"SELECT {', '.join(COLUMNS)} FROM tracks WHERE id = ?", (track_id,)).fetchone()  # noqa: S608
        return None if found is None else TrackRow(*found)

    def counts(self) -> dict[str, int]:
        """The number of tracks with each status of `STATUSES`."""
        found = dict(self.connection.execute("SELECT status, count(*) FROM tracks GROUP BY status"))
        return {status: found.get(status, 0) for status in STATUSES}

    def fingerprint(self) -> dict[str, Any] | None:
        """What the answers of the newest run depend on; None before the first run."""
        found = self.connection.execute(
            "SELECT text FROM runs JOIN fingerprints ON fingerprints.id = runs.fingerprint "
            "ORDER BY runs.id DESC LIMIT 1"
        ).fetchone()
        return None if found is None else dict(json.loads(found[0]))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write everything in the ``with`` block, or, if it raises, nothing of it. When it ends, all is on the disk."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:  # a full disk has ended it already
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def record(self, row: TrackRow) -> None:
        """Write one track: a new one, or all columns of the one with this id."""
        self.connection.execute(_RECORD, astuple(row))

    def begin_run(self, fingerprint: dict[str, Any], command: str) -> int:
        """Note the start of a run.

        Parameters
        ----------
        fingerprint : dict
            What its answers depend on, ready for `json.dumps`.
        command : str
            As people give it.

        Returns
        -------
        int
            The row of ``fingerprints``.
        """
        text = json.dumps(fingerprint, sort_keys=True)
        with self.transaction():
            self.connection.execute("INSERT INTO fingerprints (text) VALUES (?) ON CONFLICT DO NOTHING", (text,))
            (found,) = self.connection.execute("SELECT id FROM fingerprints WHERE text = ?", (text,)).fetchone()
            values = (found, now := utc_now(), now, command)
            insert = "INSERT INTO runs (fingerprint, started_at, updated_at, command) VALUES (?, ?, ?, ?)"
            self.connection.execute(insert, values)
        return int(found)

    def note_found(self, count: int) -> None:
        """Note how many files the newest run has found."""
        with self.transaction():
            self.connection.execute("UPDATE runs SET found = ? WHERE id = (SELECT max(id) FROM runs)", (count,))

    def end_run(self, how: str) -> None:
        """Note the end of the newest run: ``finished`` or ``interrupted``. A run that was killed has none."""
        with self.transaction():
            self.connection.execute(
                "UPDATE runs SET ended_at = ?, ended_how = ? WHERE id = (SELECT max(id) FROM runs)", (utc_now(), how)
            )


def utc_now() -> str:
    """The time as the catalogue has it: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


_RECORD = (
    f"INSERT INTO tracks ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "  # noqa: S608
    f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS if name != 'id')}"
)


@contextmanager
def catalogue_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the database into typed ones.

    Raises
    ------
    InsufficientStorage, CatalogueError
    """
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            raise InsufficientStorage(
                f"No space is left for {folder / CATALOGUE_NAME}. Make room, and give the same command again."
            ) from error
        raise CatalogueError(f"{folder / CATALOGUE_NAME} cannot be used: {error}") from error


def _writer(folder: Path) -> sqlite3.Connection:
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / CATALOGUE_NAME, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        # FULL: a result that was reported is on the disk, also when the power fails
        for name, value in (("journal_mode", "WAL"), ("synchronous", "FULL"), ("foreign_keys", "ON")):
            connection.execute(f"PRAGMA {name} = {value}")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        _require_version(connection, folder)
    except BaseException:
        connection.close()
        raise
    return connection


def _reader(folder: Path) -> sqlite3.Connection:
    path = folder / CATALOGUE_NAME
    if not path.is_file():
        raise CatalogueError(f"There is no catalogue in {folder}: `ccmusic batch PATH --out {folder}` makes one.")
    address = path.absolute().as_uri() + "?mode=ro"
    if not os.access(folder, os.W_OK) and not path.with_name(f"{CATALOGUE_NAME}-wal").exists():
        # SQLite reads a database with a write-ahead log only where it can write beside it. Without the log, the file
        # is whole and no run writes it.
        address += "&immutable=1"
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        _require_version(connection, folder)
    except BaseException:
        connection.close()
        raise
    return connection


def _require_version(connection: sqlite3.Connection, folder: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise CatalogueError(
            f"{folder / CATALOGUE_NAME} has version {version} of the tables, and this version of ccmusic reads "
            f"{SCHEMA_VERSION}: use another folder."
        )
