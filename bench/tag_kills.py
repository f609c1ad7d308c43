"""Kill `ccmusic tag apply` and `undo` again and again, at every step and at random moments, in every container.

    python bench/tag_kills.py [--kills 300] [--seed 0] [--folder DIR] [--write FILE]

After each kill every file must be the old one or the new one, bit for bit up to the renaming, and decodable with the
same sound. Then the same command is given again: it must complete, leave no copy, and undo must restore all fields.
Otherwise the exit code is 1.
"""

from __future__ import annotations

import argparse
import datetime
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from ccmusic.audio.payload_hash import payload_hash
from ccmusic.tagging.apply import apply_plan, undo
from ccmusic.tagging.fields import as_stored, read_fields
from ccmusic.tagging.journal import Journal
from ccmusic.tagging.replacement import STEPS
from ccmusic.tagging.second_reader import read_sound
from support.killed import run_until
from support.tagged import GENRES, SONGS, make_plan, make_song

RANDOM = "random"
KILLED = (-9, -14)
"""By SIGKILL, or by a timer that no handler heeds."""
ENDED = 0
LONGEST_SECONDS = 0.3
"""A random kill comes at most so long after the start of the work."""


class Broken(Exception):
    """What must never happen."""


class Trial:
    """One song that is tagged and restored, with a kill in each."""

    def __init__(self, folder: Path, name: str, step: str, seconds: float) -> None:
        self.folder, self.step, self.seconds = folder, step, seconds
        self.song = make_song(name, folder)
        self.plan, self.journal = make_plan(folder.parent / "plan", self.song), folder.parent / "journal"
        self.journal.unlink(missing_ok=True)
        self.before, self.old = read_fields(self.song), self.song.read_bytes()
        self.sound, self.read = payload_hash(self.song), read_sound(self.song)
        self.wanted = as_stored(self.song, GENRES)

    def run(self) -> Counter[str]:
        """Both works; returns how many were killed, by the step."""
        kills: Counter[str] = Counter()
        for what in ("apply", "undo"):
            start = self.song.read_bytes()
            if self.kill(what):
                kills[self.step] += 1
            self.look(start, what)
            with Journal(self.journal) as journal:
                outcomes = list(apply_plan(self.plan, journal) if what == "apply" else undo(journal))
            if any(outcome.what == "left" for outcome in outcomes):
                raise Broken(f"{what} after the kill: {outcomes}")
            self.end(what)
        self.song.unlink()
        return kills

    def kill(self, what: str) -> bool:
        is_random = self.step == RANDOM
        code = run_until(self.step, what, self.plan, self.journal, seconds=self.seconds if is_random else 0.0)
        if code not in KILLED and not (is_random and code == ENDED):
            raise Broken(f"{what} ended with {code}")
        return code != ENDED

    def look(self, start: bytes, what: str) -> None:
        """After the kill: the file is the old one, or the new one."""
        is_same = self.song.read_bytes() == start
        if self.step in STEPS and is_same != (STEPS.index(self.step) < STEPS.index("renamed")):
            raise Broken(f"{what} killed at {self.step}: the file is {'the old' if is_same else 'a new'} one")
        fields, has_new = read_fields(self.song), what == "apply"
        allowed = (start_genres(self, has_new), self.wanted if has_new else ())
        if fields.genres not in allowed or fields.others != self.before.others:
            raise Broken(f"{what} killed at {self.step}: {fields}")
        if payload_hash(self.song) != self.sound or (read_sound(self.song) or [0])[0] != (self.read or [0])[0]:
            raise Broken(f"{what} killed at {self.step}: other sound")

    def end(self, what: str) -> None:
        """After the command was given again."""
        fields = read_fields(self.song)
        if (fields.genres if what == "apply" else fields) != (self.wanted if what == "apply" else self.before):
            raise Broken(f"{what} was not completed: {fields}")
        if payload_hash(self.song) != self.sound:
            raise Broken(f"{what} changed the sound")
        others = [path.name for path in self.folder.iterdir() if path != self.song]
        if others:
            raise Broken(f"left in the folder: {others}")


def start_genres(trial: Trial, has_new: bool) -> tuple[str, ...]:
    return trial.before.genres if has_new else trial.wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300, metavar="N", help="at least so many (default: 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="on the disk to try (default: a temporary one)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="append a table to this file")
    options = parser.parse_args()
    choose = random.Random(options.seed)
    kills: Counter[str] = Counter()
    containers: Counter[str] = Counter()
    began = time.monotonic()
    broken: list[str] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as place, tqdm(total=options.kills, disable=None) as bar:
        (folder := Path(place) / "music").mkdir()
        number = 0
        while kills.total() < options.kills:
            name = list(SONGS)[number % len(SONGS)]
            step = [*STEPS, RANDOM][number % (len(STEPS) + 1)]
            number += 1
            try:
                found = Trial(folder, name, step, choose.uniform(0, LONGEST_SECONDS)).run()
            except Broken as error:
                broken.append(f"{name}, {step}: {error}")
                for path in folder.iterdir():
                    path.unlink()
                kills[step] += 1
                continue
            kills += found
            containers[name] += found.total()
            bar.update(found.total())
    lines = [
        f"`bench/tag_kills.py --kills {options.kills} --seed {options.seed}` on "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}: "
        f"{kills.total()} kills of `apply` and `undo` in {number} songs of {len(containers)} kinds, "
        f"{time.monotonic() - began:.0f} s. Files that were broken, half-written, or not restored: {len(broken)}.",
        "",
        "| killed after | kills |",
        "|---|---:|",
        *(f"| {step} | {kills[step]} |" for step in (*STEPS, RANDOM)),
        "",
        *broken,
    ]
    print("\n".join(lines))
    if options.write is not None:
        with options.write.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
