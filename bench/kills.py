"""Kill or stop each process below the front process of the real service again and again, at random moments.

    python bench/kills.py [--kills 20] [--ends 2] [--only WORD] [--seed 0] [--write FILE]

Each process is killed (SIGKILL) and stopped (SIGSTOP) while the service is idle and while clients wait for answers. All
probes are read meanwhile. A probe that fails although another worker is ready, a recording that is lost or answered
otherwise than before, and a process that is replaced with the lost one are counted. Then the service gets SIGTERM a
moment after such a loss: all its processes must end in time, with exit code 0. Otherwise the exit code is 1.
"""

# ruff: noqa: E402 - modules of the tests are imported after their directories are on the path

from __future__ import annotations

import argparse
import datetime
import http.client
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from load import ask, machine, recordings, references, spread, told
from tqdm import tqdm

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "data")]
from faults.look import Look
from faults.probe_watch import ProbeWatch
from faults.processes import descendants, has_ended, state
from faults.service import Service
from support.checkpoints import write_checkpoint, write_recordings

VICTIMS = ("worker 0", "worker 1", "starting worker", "fork server", "starting fork server", "preparation")
STARTING = ("starting worker", "starting fork server")
"""Another process is killed first, so that this one starts."""
SIGNALS = (signal.SIGKILL, signal.SIGSTOP)
CLIENTS = 3
LIMIT_SECONDS = 180.0
"""When a loss that is not noticed, or a process that is not replaced, is given up."""
DRAIN_SECONDS = 5
END_SECONDS = DRAIN_SECONDS + 15.0
"""The service ends itself this long after SIGTERM if anything hangs."""
ORPHAN_SECONDS = 5.0
"""A process that is left for so long after the front process is an orphan."""


@dataclass
class Loss:
    """One process that was killed or stopped, and what was seen."""

    victim: str
    number: signal.Signals
    busy: bool
    noticed: float | None = None
    replaced: float | None = None
    probes: int = 0
    live: int = 0
    """Readings of /livez."""
    answered: int = 0
    wrong: int = 0
    faults: list[str] = field(default_factory=list)
    """What should not be."""
    kinds: Counter[str] = field(default_factory=Counter)
    """The same, counted: red, lost, others."""

    def note(self, kind: str, text: str) -> None:
        """Count something that should not be."""
        self.kinds[kind] += 1
        self.faults.append(f"{self.title}: {kind}: {text}")

    @property
    def title(self) -> str:
        return f"{self.victim}, {self.number.name}, {'busy' if self.busy else 'idle'}"

    @property
    def clean(self) -> bool:
        return not (self.faults or self.wrong)


@dataclass
class End:
    """One SIGTERM a moment after a loss."""

    victim: str
    number: signal.Signals
    busy: bool
    exit_code: int | None = None
    front_seconds: float = 0.0
    gone_seconds: float = 0.0
    orphans: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return self.exit_code == 0 and self.gone_seconds <= END_SECONDS and not self.orphans


def until(condition: Callable[[], bool], limit_seconds: float = LIMIT_SECONDS) -> bool:
    """Wait for a condition; returns whether it came true."""
    deadline = time.monotonic() + limit_seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@contextmanager
def clients(address: str, mix: dict[str, bytes], expected: dict[str, object], loss: Loss | None) -> Iterator[None]:
    """Clients that send one recording after another."""
    stop, lock = threading.Event(), threading.Lock()

    def send() -> None:
        names = sorted(mix)
        while not stop.is_set():
            name = random.choice(names)
            connection = http.client.HTTPConnection(address, timeout=300)
            status, body, error = 0, b"", ""
            try:
                status, body = ask(connection, mix[name])
            except Exception as failure:  # no answer, for any reason
                error = f"{type(failure).__name__}: {failure}"
            finally:
                connection.close()
            if loss is None:  # the service is being stopped
                stop.wait(0.05)
                continue
            with lock:
                if status == 200:
                    loss.answered += 1
                    loss.wrong += told(body) != expected[name]
                else:
                    loss.note("lost", f"{name}: {error or status} {body[:200].decode('utf-8', 'replace')}")

    threads = [threading.Thread(target=send, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def processes(service: Service) -> tuple[dict[int, int], int]:
    """The process of each worker, and the fork server."""
    return {worker["index"]: worker["pid"] for worker in service.look().workers}, service.fork_server()


def strike(service: Service, victim: str, number: signal.Signals) -> tuple[int, tuple[int, ...]]:
    """Send the signal; returns the process, and the one that was killed before it so that it starts."""
    if victim == "preparation":
        pid, first = service.preparation(), ()
        time.sleep(random.uniform(0.0, 2.0))
    elif victim == "fork server":
        pid, first = service.fork_server(), ()
    elif victim == "starting fork server":
        first = (service.fork_server(),)
        os.kill(first[0], signal.SIGKILL)
        pid = service.fork_server(but=first)
        time.sleep(random.uniform(0.0, 0.5))
    elif victim == "starting worker":
        first = (processes(service)[0][0],)
        known = {*descendants(service.pid)}
        os.kill(first[0], signal.SIGKILL)
        new: list[int] = []
        until(lambda: bool(new.extend(set(descendants(service.pid)) - known) or new))
        pid = new[0]
        time.sleep(random.uniform(0.0, 0.5))
    else:
        pid, first = processes(service)[0][int(victim[-1])], ()
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    return pid, first


def sign(victim: str, number: signal.Signals, before: Look, explained: int) -> Callable[[Look], bool]:
    """Whether the service reports the loss."""
    if victim == "preparation":
        cause = "ended with exit code" if number == signal.SIGKILL else "was stopped"
        return lambda now: cause in now.check("model")[1]
    if victim == "fork server":
        return lambda now: now.check("helpers")[0] == "warn"
    if victim == "starting fork server":
        return lambda now: "while it started" in now.check("helpers")[1]
    total = before.body["restarts"]["total"]
    return lambda now: now.body.get("restarts", {}).get("total", 0) >= total + explained


def one(service: Service, loss: Loss, mix: dict[str, bytes], expected: dict[str, object]) -> None:
    """Lose one process of a green service, and watch until it is replaced."""
    before = service.look()
    restarts_before = before.body["restarts"]["total"]  # a Look is read when it is first asked
    workers, server = processes(service)
    is_worker = "worker" in loss.victim
    explained = (1 + (loss.victim in STARTING)) if is_worker else 0
    with service.probe_watch() as watch:
        if loss.busy:
            with clients(service.address, mix, expected, loss):
                time.sleep(random.uniform(0.3, 1.3))
                _watch_loss(service, loss, watch, before, explained)
        else:
            time.sleep(random.uniform(0.0, 1.0))
            _watch_loss(service, loss, watch, before, explained)
        watch.read_on()
    _judge(loss, watch, frozenset())
    after = service.look()
    more = after.body["restarts"]["total"] - restarts_before
    if more != explained:
        loss.note("others", f"{more} restarts instead of {explained}: {after.restarts}, {after.last_restart}")
    now, server_now = processes(service)
    hit = {"worker 0": 0, "starting worker": 0, "worker 1": 1}.get(loss.victim)
    for index, pid in workers.items():
        if index != hit and now.get(index) != pid:
            loss.note("others", f"worker {index} was replaced")
    if is_worker and server_now != server:
        loss.note("others", "the fork server was replaced")
    if unknown := set(descendants(service.pid)) - {server_now, *now.values()}:
        loss.note(
            "others", f"processes that are neither worker nor fork server: {[(pid, state(pid)) for pid in unknown]}"
        )


def _watch_loss(service: Service, loss: Loss, watch: ProbeWatch, before: Look, explained: int) -> None:
    """Strike, and wait until the loss is noticed and everything is back."""
    pid, first = strike(service, loss.victim, loss.number)
    since = time.monotonic()
    is_noticed = sign(loss.victim, loss.number, before, explained)

    def is_back() -> bool:
        now = service.look()
        if loss.noticed is None and is_noticed(now):
            loss.noticed = time.monotonic() - since
        if any(state(lost) is not None for lost in (pid, *first)):
            return False
        # a loss may be over before it is seen in a reading, but only a worker is counted when it is replaced
        is_known = loss.noticed is not None if "worker" in loss.victim else True
        is_there = is_known and now.green and now.check("helpers")[0] == "pass"
        return is_there and service.fork_server(but=(pid, *first)) > 0

    if until(is_back):
        loss.replaced = time.monotonic() - since
        loss.noticed = loss.replaced if loss.noticed is None else loss.noticed  # at the latest
    else:
        loss.note("others", f"not replaced; {service.look().body}")


def _judge(loss: Loss, watch: ProbeWatch, may_fail: frozenset[str]) -> None:
    loss.probes, loss.live = watch.readings, watch.readings // 3
    for red in watch.reds:
        if red.probe not in may_fail:
            loss.note("red", f"/{red.probe} for {red.ended - red.began:.1f} s: {red.cause}")


def one_preparation(directory: Path, audio: Path, checkpoint: Path, loss: Loss) -> None:
    """Lose the process that prepares a checkpoint. Until then there is no model, so only /livez must be true."""
    service = Service(directory, model=checkpoint, model_cache=directory / "cache", import_audio=audio)
    try:
        with service.probe_watch() as watch:
            _watch_loss(service, loss, watch, service.look(), 0)
        _judge(loss, watch, frozenset({"health", "readyz"}))
        if total := service.look().body["restarts"]["total"]:
            loss.note("others", f"{total} restarts of workers")
    finally:
        service.stop()


def marked(marker: str) -> dict[int, str]:
    """The processes with this text in their environment, wherever they are in the tree, and their command lines."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if marker.encode() in (path / "environ").read_bytes() and not has_ended(int(path.name)):
                found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")[:80]
    return found


def end(directory: Path, audio: Path, checkpoint: Path, mix: dict[str, bytes], ending: End) -> None:
    """Start a service, lose a process, and send SIGTERM a moment later."""
    marker = uuid.uuid4().hex
    preparing = {"model": checkpoint, "model_cache": directory / "cache", "import_audio": audio}
    chosen = preparing if ending.victim == "preparation" else {}
    service = Service(directory, drain_seconds=DRAIN_SECONDS, BENCH_KILLS=marker, **chosen)
    try:
        if ending.victim != "preparation":
            service.wait_green()
        with clients(service.address, mix if ending.busy else {}, {}, None) if ending.busy else nullcontext():
            time.sleep(random.uniform(0.3, 1.0) if ending.busy else 0.0)
            strike(service, ending.victim, ending.number)
            time.sleep(random.uniform(0.0, 1.0))
            since = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                ending.exit_code = service.process.wait(3 * END_SECONDS)
            ending.front_seconds = time.monotonic() - since
            until(lambda: not marked(marker), ORPHAN_SECONDS)
            ending.gone_seconds = time.monotonic() - since
            ending.orphans = [f"{pid}: {command}" for pid, command in marked(marker).items()]
    finally:
        service.kill()
        for pid in marked(marker):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def report(losses: list[Loss], ends: list[End]) -> str:
    """The two tables."""
    described = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    clean = all(thing.clean for thing in (*losses, *ends))
    verdict = "nothing else was red, replaced, lost or wrong, and nothing was left" if clean else "**not clean**"
    lines = [
        "# Kills",
        "",
        f"Processes below the front process were killed or stopped {len(losses)} times at random moments: {verdict}.",
        "",
        f"Measured by `bench/kills.py` on {datetime.datetime.now(datetime.UTC).date()} at commit "
        f"{described.stdout.strip() or 'unknown'}: {machine()}, two workers. Busy: {CLIENTS} clients send one "
        "recording after another. Seconds are counted from the signal, median (min to max). A starting process is one "
        "that replaces a process that was killed before. While a checkpoint is prepared there is no model, so only "
        "`/livez` must be true then.",
        "",
        "| process | signal | while | times | seconds until noticed | until replaced | answered | lost | wrong "
        "| probes read | red | replaced with it | `/livez` |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((loss.victim, loss.number, loss.busy) for loss in losses):
        group = [loss for loss in losses if (loss.victim, loss.number, loss.busy) == key]
        kinds = sum((loss.kinds for loss in group), Counter())
        noticed = [loss.noticed for loss in group if loss.noticed is not None]
        replaced = [loss.replaced for loss in group if loss.replaced is not None]
        not_live = sum("/livez" in fault for loss in group for fault in loss.faults)
        cells = [
            key[0],
            key[1].name,
            "busy" if key[2] else "idle",
            len(group),
            *(spread(times, 1) if times else "never" for times in (noticed, replaced)),
            sum(loss.answered for loss in group),
            kinds["lost"],
            sum(loss.wrong for loss in group),
            sum(loss.probes for loss in group),
            kinds["red"],
            kinds["others"],
            f"{not_live} times not 200" if not_live else "200",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    if ends:
        lines += [
            "",
            f"SIGTERM up to a second after the signal, `drain_seconds` {DRAIN_SECONDS}: seconds until the front "
            "process and until every process had ended, median (min to max).",
            "",
            "| process | signal | while | times | front process ended | all ended | exit codes | orphans |",
            "|---|---|---|---|---|---|---|---|",
        ]
    for key in dict.fromkeys((ending.victim, ending.number, ending.busy) for ending in ends):
        group = [ending for ending in ends if (ending.victim, ending.number, ending.busy) == key]
        cells = [
            key[0],
            key[1].name,
            "busy" if key[2] else "idle",
            len(group),
            spread([ending.front_seconds for ending in group], 1),
            spread([ending.gone_seconds for ending in group], 1),
            ", ".join(sorted({str(ending.exit_code) for ending in group})),
            sum(len(ending.orphans) for ending in group),
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    if bad := [fault for loss in losses for fault in loss.faults]:
        lines += ["", "The first failures:", "", *[f"* `{text}`" for text in bad[:10]]]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Lose processes, then end services."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each process with each signal; half of them busy")
    parser.add_argument("--ends", type=int, default=2, help="SIGTERMs in each of these states")
    parser.add_argument("--only", default="", help="only processes with this word in their name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables here as well")
    options = parser.parse_args()
    random.seed(options.seed)

    kinds = [
        (victim, number, busy)
        for victim in VICTIMS
        if options.only in victim
        for number in SIGNALS
        for busy in (False, True)
        if not (busy and victim == "preparation")  # nothing can be answered yet
    ]
    losses: list[Loss] = []
    ends: list[End] = []
    with tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as temporary:
        root = Path(temporary)
        audio, checkpoint = write_recordings(root / "audio", 1), write_checkpoint(root)
        service = Service(root / "service")
        try:
            service.wait_green()
            mix = recordings()
            expected = references(service.address, mix)
            plan = [
                Loss(*kind)
                for kind in kinds
                for _ in range(options.kills if kind[0] == "preparation" else options.kills // 2)
            ]
            for number, loss in enumerate(tqdm(plan, unit="kill", disable=None)):
                losses.append(loss)
                if loss.victim == "preparation":
                    one_preparation(root / f"preparation-{number}", audio, checkpoint, loss)
                else:
                    one(service, loss, mix, expected)
                for fault in loss.faults:
                    tqdm.write(fault[:1000], file=sys.stderr)
        finally:
            service.stop()
        for number, kind in enumerate(tqdm(kinds * options.ends, unit="end", disable=None)):
            ends.append(End(*kind))
            end(root / f"end-{number}", audio, checkpoint, mix, ends[-1])
            if not ends[-1].clean:
                tqdm.write(f"{ends[-1]}", file=sys.stderr)
    page = report(losses, ends)
    print(page)
    if options.write:
        options.write.write_text(page, encoding="utf-8")
    return 0 if all(thing.clean for thing in (*losses, *ends)) else 1


if __name__ == "__main__":
    sys.exit(main())
