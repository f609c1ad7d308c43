"""The tracks that one run has found, as rows of the catalogue: what becomes of each, and which are to be analysed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from itertools import islice
from typing import Any

from ccmusic.batch.catalogue import Catalogue, utc_now
from ccmusic.batch.outcome import GONE, Outcome
from ccmusic.batch.track_row import STATUSES, valid_text
from ccmusic.batch.walk import FoundFile

ROWS_AT_ONCE = 1000
"""Rows of one transaction, or of one page of a query."""

_RESULT_COLUMNS = tuple(field.name for field in fields(Outcome))
_TAKEN_OVER = tuple(
    name for name in _RESULT_COLUMNS if name not in ("status", "error_type", "error_detail", "same_as", "seconds")
)

_FINISH = (
    f"UPDATE tracks SET {', '.join(f'{name} = :{name}' for name in _RESULT_COLUMNS)}, fingerprint = :fingerprint, "  # noqa: S608
    "attempts = attempts + 1, finished_at = :now WHERE id = :id"
)
_INSERT = "INSERT INTO tracks (path, name, status, size, modified_ns, error_detail) VALUES (?, ?, ?, ?, ?, ?)"
_SKIP = "UPDATE tracks SET status = 'skipped', error_type = NULL, error_detail = :error_detail WHERE id = :id"
_TAKE_OVER = (
    f"UPDATE tracks SET ({', '.join(_TAKEN_OVER)}) = (SELECT {', '.join(_TAKEN_OVER)} FROM tracks WHERE id = :source), "  # noqa: S608
    "status = 'ok', error_type = NULL, error_detail = NULL, same_as = nullif(:source, id), fingerprint = :fingerprint, "
    "finished_at = :now WHERE id = :id"
)


class FoundTracks:
    """The tracks of one run.

    Parameters
    ----------
    catalogue : Catalogue
        Open for writing, by this run alone.
    fingerprint : int
        The row of ``fingerprints`` of this run.
    redo_stale : bool
        Whether answers of other fingerprints are made again.
    retry_failed : bool
        Whether failed files are tried again.
    """

    def __init__(
        self, catalogue: Catalogue, fingerprint: int, *, redo_stale: bool = False, retry_failed: bool = False
    ) -> None:
        self._catalogue = catalogue
        self._connection = catalogue.connection
        self._fingerprint = fingerprint
        self._redo_stale = redo_stale
        self._retry_failed = retry_failed
        # on the disk when it grows, and gone with the connection
        self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS found (id INTEGER PRIMARY KEY)")
        self._connection.execute("DELETE FROM found")

    def mark_stale(self) -> None:
        """Mark the answers of other fingerprints, and accept those of this one again."""
        for (fingerprint,) in self._connection.execute("SELECT id FROM fingerprints").fetchall():
            before, after = ("stale", "ok") if fingerprint == self._fingerprint else ("ok", "stale")
            query = "SELECT id FROM tracks WHERE fingerprint = ? AND status = ?"
            for page in self._pages(query, (fingerprint, before)):
                with self._catalogue.transaction():
                    changes = [(after, track_id) for (track_id,) in page]
                    self._connection.executemany("UPDATE tracks SET status = ? WHERE id = ?", changes)

    def add(self, files: Iterable[FoundFile]) -> None:
        """Write what the walk found, in groups. A file that is known and unchanged keeps its row."""
        todo = iter(files)
        while group := list(islice(todo, ROWS_AT_ONCE)):
            with self._catalogue.transaction():
                for file in group:
                    self._connection.execute("INSERT OR IGNORE INTO found VALUES (?)", (self._row_of(file),))

    def knows(self, file: FoundFile) -> bool:
        """Whether the catalogue has a file just as it is; of one that is skipped: whether it has no row to change."""
        known = self._connection.execute(
            "SELECT status, size, modified_ns FROM tracks WHERE path = ?", (file.path,)
        ).fetchone()
        if file.skipped is not None:
            return known is None or known[0] == "skipped"
        return known is not None and known[0] != "skipped" and known[1:] == (file.size, file.modified_ns)

    def _row_of(self, file: FoundFile) -> int:
        known = self._connection.execute(
            "SELECT id, status, size, modified_ns, answer IS NOT NULL, fingerprint FROM tracks WHERE path = ?",
            (file.path,),
        ).fetchone()
        if known is None:
            status = "waiting" if file.skipped is None else "skipped"
            values = (file.path, valid_text(file.path), status, file.size, file.modified_ns, file.skipped)
            return int(self._connection.execute(_INSERT, values).lastrowid or 0)
        track_id, before, *about = known
        status = self._status(file, before, *about)
        if status != before or status == "skipped":
            self._connection.execute(
                "UPDATE tracks SET status = ?, size = coalesce(?, size), modified_ns = coalesce(?, modified_ns), "
                "error_type = NULL, error_detail = ? WHERE id = ?",
                (status, file.size, file.modified_ns, file.skipped, track_id),
            )
        return int(track_id)

    def _status(
        self,
        file: FoundFile,
        before: str,
        size: int | None,
        modified_ns: int | None,
        has_answer: bool,
        fingerprint: int | None,
    ) -> str:
        if file.skipped is not None:
            return "skipped"
        if (size, modified_ns) != (file.size, file.modified_ns):
            return "waiting"
        if before == "skipped":  # it is back
            before = "waiting" if not has_answer else "ok" if fingerprint == self._fingerprint else "stale"
        again = (before == "stale" and self._redo_stale) or (before == "failed" and self._retry_failed)
        return "waiting" if again else before

    def mark_gone(self, folders: Sequence[bytes]) -> int:
        """Mark the tracks below these folders that this run did not find because they are no longer there.

        Returns
        -------
        int
            Their number. They are not among the found ones.
        """
        count = 0
        for folder in folders:
            last = os.path.join(folder, b"")  # noqa: PTH118  bytes
            end = last[:-1] + bytes([last[-1] + 1])
            while page := self._connection.execute(
                "SELECT id, path FROM tracks WHERE path > ? AND path < ? AND id NOT IN (SELECT id FROM found) "
                "ORDER BY path LIMIT ?",
                (last, end, ROWS_AT_ONCE),
            ).fetchall():
                last = page[-1][1]
                gone = [(GONE, track_id) for track_id, path in page if not os.path.lexists(path)]
                with self._catalogue.transaction():
                    self._connection.executemany(
                        "UPDATE tracks SET status = 'skipped', error_type = NULL, error_detail = ? WHERE id = ?", gone
                    )
                count += len(gone)
        return count

    def counts(self) -> dict[str, int]:
        """The number of found tracks with each status."""
        found = dict(
            self._connection.execute("SELECT status, count(*) FROM found JOIN tracks USING (id) GROUP BY status")
        )
        return {status: found.get(status, 0) for status in STATUSES}

    def waiting(self) -> Iterator[tuple[int, bytes]]:
        """The found tracks that are to be analysed, by id, while others finish."""
        for page in self._pages(
            "SELECT id, path FROM tracks WHERE status = 'waiting' AND id IN (SELECT id FROM found)"
        ):
            yield from page

    def finish(self, outcomes: Sequence[tuple[int, Outcome]]) -> None:
        """Write results; when this returns they are on the disk."""
        now = utc_now()
        with self._catalogue.transaction():
            for track_id, outcome in outcomes:
                values = {"id": track_id, "now": now, "fingerprint": self._fingerprint, "source": outcome.same_as}
                if outcome.status == "skipped":
                    self._connection.execute(_SKIP, asdict(outcome) | values)
                elif outcome.same_as is not None:
                    self._connection.execute(_TAKE_OVER, values)
                else:
                    self._connection.execute(_FINISH, asdict(outcome) | values)
            self._connection.execute(
                "UPDATE runs SET analysed = analysed + ?, updated_at = ? WHERE id = (SELECT max(id) FROM runs)",
                (len(outcomes), now),
            )

    def _pages(self, query: str, values: tuple[object, ...] = ()) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a query by id, in lists: other statements may change the table between two of them."""
        last = 0
        query += " AND id > ? ORDER BY id LIMIT ?"
        while page := self._connection.execute(query, (*values, last, ROWS_AT_ONCE)).fetchall():
            yield page
            last = page[-1][0]
