"""A campaign: mutated recordings of all containers in turn, in several processes, until a time or a number is reached.

The counts are kept in a folder. A later campaign resumes there, with another decoder too, if the mutators are the same.
"""

from __future__ import annotations

import hashlib
import json
import select
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import ccmusic
from fuzz.execute import Outcome, Process, prepare, run_numbers, run_plan
from fuzz.mutant import CONTAINERS, Plan, make, plan

BATCH = 200
"""Recordings that one process decodes."""
QUIET_SECONDS = 600.0
"""A process that reports nothing for so long and waits hangs. One that has no processor for so long does not."""
SAVE_SECONDS = 5.0
BOUND = "ended by SIGPROF"
"""The kernel's bound on processor time: the worker is replaced and the recording refused. No crash."""
STOPPED = "ended by SIGXCPU"
"""The limit of this test, which code without bounds reaches."""
MOST_SECONDS, SECONDS_PER_MUSIC_SECOND = 1.0, 0.1
MOST_MEGABYTES, MEGABYTES_PER_MUSIC_SECOND = 200.0, 0.3
"""What a recording may cost beside its own bytes. The waveform of a second takes 0.09 MB, twice that while it grows."""
# fmt: off
NOT_MUSIC = frozenset({
    "adpcm_ct", "adpcm_ima_dk3", "adpcm_ima_dk4", "adpcm_ima_oki", "dvaudio", "evrc", "g723_1", "g728", "g729", "iac",
    "ilbc", "imc", "interplayacm", "metasound", "on2avc", "qcelp", "ra_144", "ra_288", "sipr", "sonic", "truespeech",
    "twinvq", "xan_dpcm", "xma1", "xma2",
})
# fmt: on
"""Decoders of FFmpeg for telephones, games and early players: no recording needs them, so they must not run."""


def verdict(outcome: Outcome) -> str:
    """Why an outcome is a finding; empty if it is none."""
    if outcome.answer.startswith("untyped"):
        return outcome.answer
    if outcome.answer.startswith("ended") and outcome.answer not in (BOUND, STOPPED):
        return outcome.answer
    if outcome.codec in NOT_MUSIC:
        return f"codec {outcome.codec}"
    if outcome.processor_seconds > MOST_SECONDS + SECONDS_PER_MUSIC_SECOND * outcome.music_seconds:
        return "time"
    music_megabytes = MEGABYTES_PER_MUSIC_SECOND * outcome.music_seconds
    if outcome.megabytes > MOST_MEGABYTES + music_megabytes + outcome.size / 2**20:
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


def decoders_hash() -> str:
    """Of the code that decodes."""
    package = Path(ccmusic.__file__).parent
    return _hash([*package.glob("audio/*.py")])


def makers_hash() -> str:
    """Of the code that makes the recordings: which bytes a number stands for."""
    here = Path(__file__).parent
    names = ("part", "numbers", "changes", "growth", "pictures", "seeds", "mutant", "execute")
    return _hash([*(here / f"{name}.py" for name in names), *here.glob("containers/*.py")])


def _hash(paths: list[Path]) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(paths))).hexdigest()[:12]


class Campaign:
    """Counts of all containers, kept in a folder.

    Parameters
    ----------
    folder : Path
        Has `state.json`, `findings.jsonl`, and the bytes of the first findings of each kind.
    names : list of str
        Containers.
    """

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder = folder
        self._names = names
        self.counts = {name: Count() for name in CONTAINERS}
        self.seconds = 0.0
        self.processor_seconds = 0.0
        self.makers, self._decoders = makers_hash(), decoders_hash()
        self.by_decoders: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)
        self._state = folder / "state.json"
        if self._state.exists():
            self._load(json.loads(self._state.read_text()))

    def _load(self, state: dict) -> None:
        if state["makers"] != self.makers:
            old = self._folder.with_name(f"{self._folder.name}-{state['makers']}")
            raise SystemExit(
                f"{self._folder} has counts of other recordings ({state['makers']}; now {self.makers}). "
                f"Move it away first: mv {self._folder} {old}"
            )
        self.by_decoders = Counter(state["by_decoders"])
        self.seconds, self.processor_seconds = state["seconds"], state["processor_seconds"]
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
        state = {
            "makers": self.makers,
            "by_decoders": self.by_decoders,
            "seconds": round(self.seconds, 1),
            "processor_seconds": round(self.processor_seconds, 1),
            "counts": counts,
        }
        text = json.dumps(state, indent=1)
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
                body = partial(run_numbers, name, range(first, last))
                running[Process(body)] = (name, first, last)
            if over:
                for process in running:
                    process.end()
            if not running:
                break
            readable, _, _ = select.select([process.read_end for process in running], [], [], 1.0)
            for process in list(running):
                hangs = time.monotonic() - process.quiet_since > QUIET_SECONDS and process.waits
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
        self.by_decoders[self._decoders] += len(outcomes)
        self.processor_seconds += process.processor_seconds
        count = self.counts[name]
        for number, outcome in zip(range(first, last), outcomes, strict=False):
            count.add(number, outcome)
            if why := verdict(outcome):
                count.findings[why] += 1
                self._keep(name, number, why, outcome)
        if first + len(outcomes) < last:
            count.left.append([first + len(outcomes), last])
        return len(outcomes)

    def _keep(self, name: str, number: int, why: str, outcome: Outcome) -> None:
        made = make(plan(name, number))
        row = {"container": name, "number": number, "why": why, "decoders": self._decoders, **outcome._asdict()}
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
    while True:
        for candidate in _shorter(found):
            other = run_alone(candidate)
            if why and verdict(other) == why:
                found, outcome = candidate, other
                break
        else:
            return found, outcome


def _shorter(found: Plan) -> Iterator[Plan]:
    """The plans with one change less."""
    if found.raw is not None:
        yield replace(found, raw=None)
    if found.grown and found.changes:
        yield replace(found, changes=())
        yield replace(found, grown=None)
    if len(found.changes) > 1:
        for place in reversed(range(len(found.changes))):
            yield replace(found, changes=found.changes[:place] + found.changes[place + 1 :])
