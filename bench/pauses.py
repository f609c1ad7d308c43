"""Stop the real service again and again for a random time and continue it: nothing may be red, replaced or lost.

    python bench/pauses.py [--pauses 30] [--shortest 2.5] [--longest 60] [--seed 0] [--write FILE]

Each pause stops the whole service (by signals, or by the freezer of a control group where one can be made) or the front
process alone, while it is idle or busy. Some probes are sent during the pause, as those of a kubelet would be, and all
probes are read for some seconds afterwards. Probes that fail, workers that are replaced, and recordings that are not
answered or not with the answer of before are counted. All must be 0; otherwise the exit code is 1.
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from latency import descendants, start
from load import PROBES, ask, machine, recordings, references, told
from soak import health
from tqdm import tqdm

AFTER_SECONDS = 6.0
CLIENTS = 4
FREEZERS = (
    (Path("/sys/fs/cgroup"), "cgroup.freeze", "1", "0"),
    (Path("/sys/fs/cgroup/freezer"), "freezer.state", "FROZEN", "THAWED"),
)
"""Directory, file and its two values, of version 2 and version 1 of control groups."""


@dataclass
class Pause:
    """One pause and what was seen."""

    who: str
    busy: bool
    seconds: float
    probes: int = 0
    reds: list[str] = field(default_factory=list)
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: int = 0
    restarts: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing was red, replaced, lost or wrong."""
        return not (self.reds or self.lost or self.wrong or self.restarts)


@contextmanager
def freezer() -> Iterator[Path | None]:
    """A control group that can be frozen; None if none can be made here."""
    for root, name, _, _ in FREEZERS:
        group = root / f"ccmusic-pauses-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / name).exists():
                yield group
                return
        finally:
            with suppress(OSError):
                group.rmdir()
    yield None


@contextmanager
def paused(who: str, front: int, group: Path | None) -> Iterator[None]:
    """The processes are stopped while the block runs. The front process continues first."""
    if who == "frozen":
        name, frozen, thawed = next(rest for _, *rest in FREEZERS if (group / rest[0]).exists())
        (group / name).write_text(frozen)
        try:
            yield
        finally:
            (group / name).write_text(thawed)
        return
    pids = [front] if who == "front" else [front, *descendants(front)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def probe(address: str, path: str, pause: Pause) -> None:
    """Read one probe, with more patience than any pause."""
    connection = http.client.HTTPConnection(address, timeout=300)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            pause.reds.append(f"{path}: {response.status} {body[:200].decode('utf-8', 'replace')}")
    except Exception as error:  # a probe without an answer counts as failed
        pause.reds.append(f"{path}: {type(error).__name__}: {error}")
    finally:
        connection.close()
    pause.probes += 1


def send(address: str, name: str, recording: bytes, expected: dict[str, object], pause: Pause) -> None:
    """Classify one recording and judge its answer."""
    connection = http.client.HTTPConnection(address, timeout=300)
    try:
        status, body = ask(connection, recording)
        if status == 200:
            pause.answered += 1
            pause.wrong += told(body) != expected
        else:
            pause.lost.append(f"{name}: {status} {body[:200].decode('utf-8', 'replace')}")
    except Exception as error:  # no answer, for any reason
        pause.lost.append(f"{name}: {type(error).__name__}: {error}")
    finally:
        connection.close()


def one(
    pause: Pause, address: str, stopping: Callable[[], object], mix: dict[str, bytes], expected: dict[str, object]
) -> None:
    """Make one pause."""
    before = health(address)["restarts"]["total"]
    names = random.sample(sorted(mix), k=min(len(mix), 2 * CLIENTS)) if pause.busy else []
    with ThreadPoolExecutor(2 * CLIENTS + len(PROBES)) as pool:
        for name in names:
            pool.submit(send, address, name, mix[name], expected[name], pause)
        with stopping():
            time.sleep(max(0.0, pause.seconds - 1))
            for path in PROBES:
                pool.submit(probe, address, path, pause)
            time.sleep(min(1.0, pause.seconds))
        end = threading.Event()

        def read(path: str) -> None:
            while not end.wait(0.01):
                probe(address, path, pause)

        threads = [threading.Thread(target=read, args=(path,)) for path in PROBES]
        for thread in threads:
            thread.start()
        time.sleep(AFTER_SECONDS)
        end.set()
        for thread in threads:
            thread.join()
    pause.restarts = health(address)["restarts"]["total"] - before


def report(pauses: list[Pause]) -> str:
    """The table."""
    described = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    verdict = "nothing was red, replaced, lost or wrong" if all(p.clean for p in pauses) else "**not clean**, see below"
    lines = [
        "# Pauses",
        "",
        f"The service was stopped {len(pauses)} times for a random time and continued: {verdict}.",
        "",
        f"Measured by `bench/pauses.py` on {datetime.datetime.now(datetime.UTC).date()} at commit "
        f"{described.stdout.strip() or 'unknown'}: {machine()}. Each pause begins while the service is idle, or while "
        f"{2 * CLIENTS} clients wait for an answer. Some probes are sent during the pause, and all three are read for "
        f"{AFTER_SECONDS:g} s after it.",
        "",
        "| stopped | while | pauses | seconds | probes read | red | restarts | answered | lost | wrong |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for who, busy in dict.fromkeys((pause.who, pause.busy) for pause in pauses):
        group = [pause for pause in pauses if (pause.who, pause.busy) == (who, busy)]
        lengths = sorted(pause.seconds for pause in group)
        counts = (
            sum(pause.probes for pause in group),
            sum(len(pause.reds) for pause in group),
            sum(pause.restarts for pause in group),
            sum(pause.answered for pause in group),
            sum(len(pause.lost) for pause in group),
            sum(pause.wrong for pause in group),
        )
        cells = [
            {"all": "all processes, by signals", "front": "the front process", "frozen": "all processes, frozen"}[who],
            "busy" if busy else "idle",
            len(group),
            f"{lengths[0]:.1f} to {lengths[-1]:.1f}",
            *counts,
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    bad = [text for pause in pauses for text in (*pause.reds, *pause.lost)]
    if bad:
        lines += ["", "The first failures:", "", *[f"* `{text}`" for text in bad[:10]]]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Make the pauses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pauses", type=int, default=30)
    parser.add_argument("--shortest", type=float, default=2.5, help="seconds")
    parser.add_argument("--longest", type=float, default=60.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table here as well")
    options = parser.parse_args()
    random.seed(options.seed)

    pauses: list[Pause] = []
    with freezer() as group:
        kinds = [(who, busy) for who in ("all", "front", *(["frozen"] if group else [])) for busy in (False, True)]
        process, url, _ = start(["--no-page"])
        address = url.removeprefix("http://")
        try:
            if group is not None:
                for pid in (process.pid, *descendants(process.pid)):
                    (group / "cgroup.procs").write_text(str(pid))
            mix = recordings()
            expected = references(address, mix)
            for number in tqdm(range(options.pauses), unit="pause", disable=None):
                who, busy = kinds[number % len(kinds)]
                # many short ones and a few long ones, as in life
                seconds = options.shortest * (options.longest / options.shortest) ** random.random()
                pause = Pause(who, busy, seconds)
                pauses.append(pause)
                one(pause, address, lambda who=who: paused(who, process.pid, group), mix, expected)
            print(json.dumps(health(address)["restarts"]), file=sys.stderr)
        finally:
            process.terminate()
            process.wait()
    page = report(pauses)
    print(page)
    if options.write:
        options.write.write_text(page, encoding="utf-8")
    return 0 if all(pause.clean for pause in pauses) else 1


if __name__ == "__main__":
    sys.exit(main())
