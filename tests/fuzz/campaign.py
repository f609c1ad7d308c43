"""A campaign: mutated recordings of all containers in turn, in several processes, until a time or a number is reached.

The counts are kept in a folder, and a later campaign resumes there while decoder and mutators are the same.
"""

from __future__ import annotations

import hashlib
import json
import select
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import ccmusic
from fuzz.execute import Outcome, Process, prepare, run_numbers, run_plan
from fuzz.mutant import CONTAINERS, Plan, make, plan

BATCH = 200
"""Recordings that one process decodes."""
QUIET_SECONDS = 600.0
"""A process that reports nothing for so long hangs: it waits, or would have reached a bound on processor time."""
SAVE_SECONDS = 5.0
BOUND = "ended by SIGPROF"
"""The kernel's bound on processor time: the worker is replaced and the recording refused. No crash."""
STOPPED = "ended by SIGXCPU"
"""The limit of this test, which code without bounds reaches."""
MOST_SECONDS, SECONDS_PER_MUSIC_SECOND = 1.0, 0.1
MOST_MEGABYTES, MEGABYTES_PER_MUSIC_SECOND = 200.0, 0.3
"""What a recording may cost. The waveform of a second takes 0.09 MB, and twice that while it grows."""


def verdict(outcome: Outcome) -> str:
    """Why an outcome is a finding; empty if it is none."""
    if outcome.answer.startswith("untyped"):
        return outcome.answer
    if outcome.answer.startswith("ended") and outcome.answer not in (BOUND, STOPPED):
        return outcome.answer
    if outcome.processor_seconds > MOST_SECONDS + SECONDS_PER_MUSIC_SECOND * outcome.music_seconds:
        return "time"
    if outcome.megabytes > MOST_MEGABYTES + MEGABYTES_PER_MUSIC_SECOND * outcome.music_seconds:
        return "memory"
    return ""


@dataclass
class Count:
    """What was seen of one container.

    Attributes
    ----------
    next : int
        Number of the first recording that was never tried.
    left : list of [int, int]
        Ranges before `next` that were begun and not ended.
    answers : dict
        How often each answer was given.
    longest, highest : [float, int]
        Processor time in seconds and memory in MB, each with the number of the recording.
    findings : dict
        How often each verdict was reached.
    """

    next: int = 0
    left: list[list[int]] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    longest: list[float] = field(default_factory=lambda: [0.0, -1])
    highest: list[float] = field(default_factory=lambda: [0.0, -1])
    findings: Counter[str] = field(default_factory=Counter)

    @property
    def executions(self) -> int:
        return sum(self.answers.values())

    @property
    def deaths(self) -> int:
        """Processes that ended by anything but a bound on processor time."""
        ended = sum(count for answer, count in self.answers.items() if answer.startswith("ended"))
        return ended - self.answers[BOUND] - self.answers[STOPPED]

    def add(self, number: int, outcome: Outcome) -> None:
        self.answers[outcome.answer] += 1
        self.longest = max(self.longest, [round(outcome.processor_seconds, 3), number])
        self.highest = max(self.highest, [round(outcome.megabytes, 1), number])


def code_hash() -> str:
    """Of all that the outcome of a number depends on: what decodes, and what makes the recordings."""
    package, here = Path(ccmusic.__file__).parent, Path(__file__).parent
    makers = (here / f"{name}.py" for name in ("part", "numbers", "changes", "seeds", "mutant", "execute"))
    decoders = (*package.glob("audio/*.py"), *package.glob("workers/bounds.py"))
    contents = (path.read_bytes() for path in sorted((*decoders, *makers, *here.glob("containers/*.py"))))
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:12]


class Campaign:
    """Counts of all containers, kept in a folder.

    Parameters
    ----------
    folder : Path
        Has `state.json`, `findings.jsonl`, and the bytes of the first findings of each kind.
    names : list of str
        Containers.
    other_code : bool
        Whether to read the counts of another version of the code; they cannot be added to.
    """

    def __init__(self, folder: Path, names: list[str], *, other_code: bool = False) -> None:
        self._folder = folder
        self._names = names
        self.counts = {name: Count() for name in CONTAINERS}
        self.seconds = 0.0
        self.code = code_hash()
        folder.mkdir(parents=True, exist_ok=True)
        self._state = folder / "state.json"
        if self._state.exists():
            state = json.loads(self._state.read_text())
            if other_code:
                self.code = state["code"]
            self._load(state)

    def _load(self, state: dict) -> None:
        if state["code"] != self.code:
            old = self._folder.with_name(f"{self._folder.name}-{state['code']}")
            raise SystemExit(
                f"{self._folder} has counts of another decoder or other mutators ({state['code']}; now {self.code}). "
                f"Move it away first: mv {self._folder} {old}"
            )
        self.seconds = state["seconds"]
        for name, count in state["counts"].items():
            self.counts[name] = Count(**{**count, **{key: Counter(count[key]) for key in ("answers", "findings")}})

    @property
    def executions(self) -> int:
        return sum(count.executions for count in self.counts.values())

    def save(self, running: Iterable[tuple[str, int, int]] = ()) -> None:
        """Keep the counts. What is running now was not ended."""
        counts = {name: vars(count) | {"left": list(count.left)} for name, count in self.counts.items()}
        for name, first, last in running:
            counts[name]["left"].append([first, last])
        text = json.dumps({"code": self.code, "seconds": round(self.seconds, 1), "counts": counts}, indent=1)
        new = self._state.with_suffix(".new")
        new.write_text(text)
        new.replace(self._state)

    def run(self, seconds: float, most: int | None, jobs: int, tell: Callable[[int], object]) -> None:
        """Decode until this time has passed or so many recordings were decoded in all campaigns of this folder."""
        prepare()
        began = saved = time.monotonic()
        before = self.seconds
        running: dict[Process, tuple[str, int, int]] = {}
        while True:
            now = time.monotonic()
            over = now - began > seconds or (most is not None and self.executions >= most)
            while not over and len(running) < jobs:
                name, first, last = self._next()
                running[Process(partial(run_numbers, name, first, last))] = (name, first, last)
            if over:
                for process in running:
                    process.end()
            if not running:
                break
            readable, _, _ = select.select([process.read_end for process in running], [], [], 1.0)
            for process in list(running):
                hangs = time.monotonic() - process.quiet_since > QUIET_SECONDS
                if hangs:
                    process.end()
                if over or hangs or (process.read_end in readable and not process.read()):
                    tell(self._take(process, *running.pop(process), stopped=over))
            self.seconds = before + time.monotonic() - began
            if now - saved > SAVE_SECONDS:
                self.save(running.values())
                saved = now
        self.save()

    def _next(self) -> tuple[str, int, int]:
        """The next recordings: of the container with the fewest so far."""
        for name in self._names:
            if self.counts[name].left:
                first, last = self.counts[name].left.pop()
                return name, first, last
        name = min(self._names, key=lambda name: self.counts[name].next)
        count = self.counts[name]
        count.next += BATCH
        return name, count.next - BATCH, count.next

    def _take(self, process: Process, name: str, first: int, last: int, *, stopped: bool) -> int:
        outcomes = process.outcomes()
        if stopped and outcomes and outcomes[-1].answer == "ended by SIGKILL":
            outcomes.pop()
        count = self.counts[name]
        for number, outcome in enumerate(outcomes, first):
            count.add(number, outcome)
            if why := verdict(outcome):
                count.findings[why] += 1
                self._keep(name, number, why, outcome)
        if first + len(outcomes) < last:
            count.left.append([first + len(outcomes), last])
        return len(outcomes)

    def _keep(self, name: str, number: int, why: str, outcome: Outcome) -> None:
        made = make(plan(name, number))
        row = {"container": name, "number": number, "why": why, "bytes": len(made.content), **outcome._asdict()}
        row["done"] = made.done
        with (self._folder / "findings.jsonl").open("a") as out:
            out.write(json.dumps(row) + "\n")


def run_alone(found: Plan) -> Outcome:
    """What becomes of the recording of one plan, in a process of its own."""
    return Process(partial(run_plan, found)).outcomes()[0]


def minimised(found: Plan) -> tuple[Plan, Outcome]:
    """The plan without the changes that the finding does not need, and what becomes of it then."""
    outcome = run_alone(found)
    why = verdict(outcome)
    shorter = [replace(found, raw=None)] if found.raw is not None else []
    while True:
        shorter += [
            replace(found, changes=found.changes[:place] + found.changes[place + 1 :])
            for place in reversed(range(len(found.changes)))
            if len(found.changes) > 1
        ]
        for candidate in shorter:
            other = run_alone(candidate)
            if why and verdict(other) == why:
                found, outcome = candidate, other
                break
        else:
            return found, outcome
        shorter = []
