"""Label a library with ``ccmusic batch``, kill it twice, and reconcile its catalogue with what the library holds.

::

    python bench/batch.py --audio DIR ... [--tracks 2000] [--jobs N] [--folder DIR] [--rows 1000000] [--write FILE]

The library: parts of the recordings and computed songs in eight formats, among them four that are corrupt, three that
may not be read, and ten that are others in another encoding. The whole process group of the run is killed (SIGKILL)
when 30 % and 70 % of the tracks have a result, and the same command continues. Then every file must be in the catalogue
exactly once, exactly the corrupt ones have failed, no finished track was analysed again, and exactly the ten duplicates
are found. Otherwise the exit code is 1. `--rows` also measures a catalogue of so many synthetic rows.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from identity import by_libsndfile, read
from load import machine
from robustness import Audio
from tqdm import tqdm

from ccmusic.batch.catalogue import CATALOGUE_NAME, Catalogue
from ccmusic.batch.duplicates import Identity, duplicate_groups, identities
from ccmusic.batch.track_row import COLUMNS
from ccmusic.genres import CCMUSIC
from ccmusic.inference.acoustic_identity import EMBEDDING_SIZE, PROFILE_SIZE
from ccmusic.inference.result import ModelIdentity, TrackResult

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.recordings import melody

FORMATS: dict[str, Callable[[Audio], bytes]] = {
    "mp3": lambda audio: audio.encoded("mp3", "libmp3lame", 128_000),
    "ogg": lambda audio: by_libsndfile(audio, "OGG", "VORBIS"),
    "opus": lambda audio: audio.encoded("ogg", "libopus", 64_000, 48000),
    "m4a": lambda audio: audio.encoded("ipod", "aac", 128_000),
    "wma": lambda audio: audio.encoded("asf", "wmav2", 128_000),
    "wav": lambda audio: audio.wav(),
    "flac": lambda audio: by_libsndfile(audio, "FLAC", "PCM_16"),
    "aiff": lambda audio: by_libsndfile(audio, "AIFF", "PCM_16"),
}
CORRUPT: dict[str, bytes] = {
    "random bytes.mp3": np.random.PCG64(1).random_raw(20_000).tobytes(),
    "only a header.flac": b"fLaC\0\0\0\x22" + bytes(34) + b"\xff\xf8 no frame" * 100,
    "cut off.ogg": b"OggS\0\2" + bytes(60),
    "no index.m4a": b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0" + b"\0\1\0\0mdat" + bytes(65528),
}
N_UNREADABLE = 3
N_DUPLICATES = 10
SHORTEST_SECONDS = 12.0
KILLED_AT = (0.3, 0.7)
ROOT_FOLDERS = 50
FINAL = ("ok", "failed", "skipped")

OBEYS_MODES = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""In front of a command of root: it cannot read what its mode forbids."""


def songs(directories: list[Path]) -> Iterator[Audio]:
    """Parts of different recordings and computed songs in turn, without end; no two are the same sound."""
    paths = sorted(
        path for folder in directories for path in folder.iterdir() if path.suffix in (".ogg", ".opus", ".mp3")
    )
    recordings = [read(path) for path in paths]
    parts = real_parts(recordings)
    seed = 0
    while True:
        for _ in range(2):
            if (part := next(parts, None)) is not None:
                yield part
        seed += 1
        yield Audio(melody(seed, SHORTEST_SECONDS + seed % 97 / 10)[:, np.newaxis], 22050)
        melody.cache_clear()


def real_parts(recordings: list[Audio]) -> Iterator[Audio]:
    """Parts that begin at least 2 s apart, of lengths that differ."""
    for number in range(10**6):
        begin = 2.3 * number
        seconds = SHORTEST_SECONDS + number % 89 / 8
        found = [audio for audio in recordings if len(audio.samples) >= (begin + seconds) * audio.rate]
        if not found:
            return
        for audio in found:
            yield Audio(audio.samples[round(begin * audio.rate) : round((begin + seconds) * audio.rate)], audio.rate)


@dataclass
class Library:
    """What the folder holds, by path."""

    folder: Path
    good: set[bytes] = field(default_factory=set)
    corrupt: set[bytes] = field(default_factory=set)
    unreadable: set[bytes] = field(default_factory=set)
    duplicates: set[frozenset[bytes]] = field(default_factory=set)

    @property
    def paths(self) -> set[bytes]:
        return self.good | self.corrupt | self.unreadable

    def place(self, number: int, suffix: str) -> Path:
        path = self.folder / f"album {number % ROOT_FOLDERS:02d}" / f"{number:04d}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def make_library(folder: Path, n_tracks: int, directories: list[Path]) -> Library:
    library = Library(folder)
    n_songs = n_tracks - len(CORRUPT) - N_UNREADABLE - N_DUPLICATES
    formats = list(FORMATS)
    sounds = songs(directories)
    for number in tqdm(range(n_songs), desc="library", disable=None):
        audio = next(sounds)
        suffix = formats[number % len(formats)]
        path = library.place(number, suffix)
        path.write_bytes(FORMATS[suffix](audio))
        library.good.add(os.fsencode(path))
        if number % (n_songs // N_DUPLICATES) == 0 and len(library.duplicates) < N_DUPLICATES:
            other = formats[(number + 1 + len(library.duplicates) % (len(formats) - 1)) % len(formats)]
            copy = library.place(number + n_songs, other)
            copy.write_bytes(FORMATS[other](audio))
            library.good.add(os.fsencode(copy))
            library.duplicates.add(frozenset({os.fsencode(path), os.fsencode(copy)}))
    for name, content in CORRUPT.items():
        (folder / name).write_bytes(content)
        library.corrupt.add(os.fsencode(folder / name))
    for number in range(N_UNREADABLE):
        path = folder / f"not for you {number}.mp3"
        path.write_bytes(b"ID3")
        path.chmod(0)
        library.unreadable.add(os.fsencode(path))
    return library


@dataclass
class Run:
    """One start of the command.

    Attributes
    ----------
    n_before, n_after : int
        Tracks with a result.
    parent_mb, worker_mb : float
        Largest resident memory of the process itself, and of one of its processes.
    """

    n_before: int
    n_after: int = 0
    seconds: float = 0.0
    processor_seconds: float | None = None
    parent_mb: float = 0.0
    worker_mb: float = 0.0
    exit_code: int = 0
    last_line: str = ""


def results(out: Path) -> dict[bytes, tuple[str, int, str]]:
    """Status, attempts and time of each track with a result, by path."""
    if not (out / CATALOGUE_NAME).exists():
        return {}
    try:
        with Catalogue.open(out, read_only=True) as catalogue:
            rows = catalogue.connection.execute(
                f"SELECT path, status, attempts, finished_at FROM tracks WHERE status IN {FINAL}"
            )
            return {path: tuple(rest) for path, *rest in rows}
    except Exception as error:
        print(f"not yet: {error}", file=sys.stderr)
        return {}


def count(out: Path) -> int:
    try:
        with sqlite3.connect(f"file:{out / CATALOGUE_NAME}?mode=ro", uri=True) as connection:
            return int(connection.execute(f"SELECT count(*) FROM tracks WHERE status IN {FINAL}").fetchone()[0])
    except sqlite3.Error:  # not there yet
        return 0


def members(group: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(")")[2].split()
        except OSError:  # has ended
            continue
        if int(after_name[2]) == group and after_name[0] != "Z":
            found.append(int(path.parent.name))
    return found


def peak_mb(process: int) -> float:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0.0)


def run(command: list[str], out: Path, kill_at: int | None, log: Path) -> Run:
    """Start the command in a process group of its own, and kill the group when so many tracks have a result."""
    found = Run(count(out))
    started = time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, process_group=0)
        status, usage = 0, None
        while not usage:
            for member in members(process.pid):
                if member == process.pid:
                    found.parent_mb = max(found.parent_mb, peak_mb(member))
                else:
                    found.worker_mb = max(found.worker_mb, peak_mb(member))
            if kill_at is not None and count(out) >= kill_at:
                os.killpg(process.pid, signal.SIGKILL)
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                usage = used
            else:
                time.sleep(0.05)
    found.seconds = time.perf_counter() - started
    found.exit_code = os.waitstatus_to_exitcode(status)
    if found.exit_code >= 0:  # else the processes of the group are nobody's children, and are not counted
        found.processor_seconds = usage.ru_utime + usage.ru_stime
    while members(process.pid):  # killed, and about to end
        time.sleep(0.01)
    found.n_after = count(out)
    found.last_line = (log.read_text().strip().splitlines() or [""])[-1]
    return found


def faults(library: Library, out: Path, runs: list[Run], before: list[dict[bytes, tuple[str, int, str]]]) -> list[str]:
    """What is not as it must be."""
    with Catalogue.open(out, read_only=True) as catalogue:
        paths = Counter(row.path for row in catalogue.tracks())
        by_status = {
            status: {row.path for row in catalogue.tracks(status)}
            for status in ("ok", "failed", "skipped", "waiting", "stale")
        }
        unanswered = [
            row.name for row in catalogue.tracks("ok") if not row.answer or json.loads(row.answer)["predictions"] == []
        ]
        names = {row.id: row.path for row in catalogue.tracks()}
        groups = {frozenset(names[number] for number in group) for group in duplicate_groups(identities(catalogue))}
    wrong = {
        "tracks that are there twice": [path for path, n in paths.items() if n != 1],
        "tracks that are missing": library.paths - set(paths),
        "tracks that nobody put there": set(paths) - library.paths,
        "corrupt files that did not fail": library.corrupt - by_status["failed"],
        "others that failed": by_status["failed"] - library.corrupt,
        "good files without an answer": library.good - by_status["ok"],
        "unreadable files that were not skipped": library.unreadable - by_status["skipped"],
        "tracks without a result": by_status["waiting"] | by_status["stale"],
        "rows without an answer": unanswered,
        "duplicates that were not found": library.duplicates - groups,
        "others that were taken for duplicates": groups - library.duplicates,
    }
    after = results(out)
    for number, earlier in enumerate(before, 1):
        wrong[f"results before kill {number} that changed"] = [
            path for path, row in earlier.items() if after.get(path) != row
        ]
    wrong["kills that came too late"] = [
        number for number, killed in enumerate(runs[:-1], 1) if killed.exit_code != -signal.SIGKILL
    ]
    wrong["other exit code than 1 at the end"] = [runs[-1].exit_code] if runs[-1].exit_code != 1 else []
    return [f"{len(list(found))} {name}: {sorted(map(str, found))[:5]}" for name, found in wrong.items() if found]


LAUNCHER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A small process starts the command: the peak of a process includes that of the one from which it was forked."""


def synthetic_rows(n_rows: int) -> Iterator[tuple[object, ...]]:
    """Rows of ``tracks``: one in a hundred failed, the others with one of a thousand answers and an embedding."""
    leaves = np.random.default_rng(1).dirichlet(np.full(len(CCMUSIC.labels), 0.2), 1000)
    model = ModelIdentity("synthetic", "1", "0" * 64)
    answers = []
    for row in leaves:
        result = TrackResult(model, 240.0, {level: CCMUSIC.roll_up(row, level) for level in CCMUSIC.sizes}, (), ())
        answer = result.as_json(top_k=len(CCMUSIC.labels))
        del answer["windows"]
        answers.append((json.dumps(answer), *answer["predictions"][0].values()))
    for number, identity in enumerate(synthetic_identities(n_rows, one_length=False), 1):
        path = f"/music/artist {number // 100}/album {number // 10}/{number}.flac"
        columns = dict.fromkeys(COLUMNS) | {"id": number, "path": path.encode(), "name": path, "attempts": 1}
        if number % 100 == 0:
            columns |= {"status": "failed", "error_type": "undecodable-audio", "error_detail": "The content is broken."}
        else:
            text, genre, *_, probability = answers[number % len(answers)]
            columns |= {"status": "ok", "answer": text, "genre": genre, "probability": probability, "flags": "[]"}
            columns |= {"duration_seconds": identity.duration_seconds, "embedding": identity.embedding}
            columns |= {"payload": f"sha256:{number:064x}"}
        yield tuple(columns.values())


def write_catalogue(folder: Path, n_rows: int) -> None:
    with Catalogue.open(folder) as catalogue:
        catalogue.connection.execute("PRAGMA synchronous = OFF")
        with catalogue.transaction():
            catalogue.connection.executemany(
                f"INSERT INTO tracks ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})",
                synthetic_rows(n_rows),
            )


def synthetic_identities(n_rows: int, one_length: bool) -> Iterator[Identity]:
    """Random embeddings; each thousandth row is the one before it, encoded again."""
    generator = np.random.default_rng(1)
    for first in range(0, n_rows, 1000):
        table = generator.standard_normal((1000, EMBEDDING_SIZE)).astype(np.float32)
        seconds = np.full(1000, 30.0) if one_length else 120.0 + generator.gamma(4.0, 30.0, 1000)
        table[999] = table[998] + 0.1 * generator.standard_normal(EMBEDDING_SIZE)
        seconds[999] = seconds[998] + 0.02
        parts = table[:, :PROFILE_SIZE], table[:, PROFILE_SIZE:]
        stored = np.hstack([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]).astype("<f2")
        for row in range(1000):
            yield Identity(first + row, float(seconds[row]), stored[row].tobytes())


def measured(command: list[str]) -> tuple[float, float, str]:
    """Seconds, peak memory in MB, and what the command printed."""
    started = time.perf_counter()
    found = subprocess.run([sys.executable, "-c", LAUNCHER, *command], check=False, capture_output=True, text=True)
    *said, last = found.stderr.splitlines()
    if found.returncode:
        raise SystemExit("\n".join([f"{command} failed", *said]))
    return time.perf_counter() - started, int(last) / 1024, found.stdout


def rows_table(folder: Path, n_rows: int) -> str:
    if not (folder / CATALOGUE_NAME).exists():
        write_catalogue(folder, n_rows)
    program = [sys.executable, "-m", "ccmusic.cli", "batch"]
    duplicates = [sys.executable, __file__, "--duplicates", str(n_rows)]
    commands = {
        "`ccmusic batch status`": [*program, "status", str(folder)],
        **{
            f"`ccmusic batch export --format {form}`": [
                *program, "export", str(folder), "--format", form, "--out", str(folder / f"rows.{form}")
            ]
            for form in ("csv", "jsonl")
        },
        "`ccmusic batch duplicates`": [*program, "duplicates", str(folder)],
        "duplicates, without the catalogue": duplicates,
        "duplicates, all of one length": [*duplicates, "--one-length"],
    }  # fmt: skip
    lines = ["| | seconds | peak memory, MB | |", "|---|---|---|---|"]
    for name, command in commands.items():
        seconds, peak, text = measured(command)
        said = text.strip() if name.startswith("duplicates") else ""
        lines.append(f"| {name} | {seconds:.1f} | {peak:.0f} | {said} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


PAGE = """# A library, labelled and interrupted

Written by `python bench/batch.py`. {machine}

{n} tracks: parts of recordings and computed songs of 12 to 23 s in {formats} formats, among them {n_corrupt} corrupt
and {n_unreadable} unreadable files and {n_duplicates} duplicates in another encoding. The whole process group was
killed at 30 % and at 70 %.

| run | results before | after | seconds | exit code | peak memory, MB: parent | one process |
|---|---|---|---|---|---|---|
{runs}

The last line of the last run: `{last_line}`

{verdict}

{rate}
{rows}"""


def report(options: argparse.Namespace, runs: list[Run], wrong: list[str], rows: str) -> str:
    last = runs[-1]
    n = last.n_after - last.n_before
    lines = [
        f"| {number} | {one.n_before} | {one.n_after} | {one.seconds:.0f} | {one.exit_code} | {one.parent_mb:.0f} "
        f"| {one.worker_mb:.0f} |"
        for number, one in enumerate(runs, 1)
    ]
    rate = (
        f"The last run: {n} tracks in {last.seconds:.0f} s with {options.jobs} processes, "
        f"{n / last.seconds / options.jobs:.2f} tracks per second and process, with the start of the command and the "
        f"load of the model; {n / last.processor_seconds:.2f} tracks per second of processor time."
    )
    good = (
        "Every file is in the catalogue exactly once; exactly the corrupt files failed, unreadable ones were "
        "skipped, and all others have an answer. No result from before a kill changed. Exactly the duplicates were "
        "found."
    )
    return PAGE.format(
        machine=machine(),
        n=options.tracks,
        formats=len(FORMATS),
        n_corrupt=len(CORRUPT),
        n_unreadable=N_UNREADABLE,
        n_duplicates=N_DUPLICATES,
        runs="\n".join(lines),
        last_line=last.last_line,
        verdict="\n".join(f"* **Wrong**: {fault}" for fault in wrong) or good,
        rate=rate,
        rows=f"\n## {options.rows:,} synthetic rows\n\n{rows}\n" if rows else "",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--audio", type=Path, nargs="+", help="directories of recordings")
    parser.add_argument("--tracks", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, help="keeps the library and the catalogues")
    parser.add_argument("--rows", type=int, default=0, help="also measure a catalogue of so many rows")
    parser.add_argument("--write", type=Path, help="the page to write")
    parser.add_argument("--duplicates", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one-length", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.duplicates:
        groups = duplicate_groups(synthetic_identities(options.duplicates, options.one_length))
        print(f"{len(groups):,} of {options.duplicates // 1000:,} pairs found")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary)
        out = root / "out"
        library = make_library(root / "library", options.tracks, options.audio)
        program = [*OBEYS_MODES, sys.executable, "-m", "ccmusic.cli", "batch"]
        command = [*program, str(library.folder), "--out", str(out), "--jobs", str(options.jobs)]
        runs, before = [], []
        for share in KILLED_AT:
            runs.append(run(command, out, round(share * options.tracks), root / "log.txt"))
            before.append(results(out))
        runs.append(run(command, out, None, root / "log.txt"))
        wrong = faults(library, out, runs, before)
        rows = rows_table(root / "rows", options.rows) if options.rows else ""
    page = report(options, runs, wrong, rows)
    print(page)
    if options.write:
        options.write.write_text(page, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
