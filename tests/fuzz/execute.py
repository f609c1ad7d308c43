"""Decodes mutated recordings in a process of its own, as a worker decodes them, and reports what each one cost."""

from __future__ import annotations

import gc
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ccmusic.audio.decode import DecodeLimits, Recording, decode
from ccmusic.errors import CcmusicError
from fuzz.mutant import CONTAINERS, Plan, make, mutant, seed_bytes
from fuzz.seeds import SEEDS

MB = 2**20
STOP_SECONDS = 4
"""Processor time after which a decoding is ended, if the code under test has no bound of its own."""
MOST_KEPT_MEGABYTES = 50
"""A process that has had more memory is not used again."""
MOST_ADDRESSES = 6 * 2**30
"""Address space of a process, for the same reason."""


class Outcome(NamedTuple):
    """What became of one recording.

    Attributes
    ----------
    answer : str
        "decoded", the name of a typed error, "untyped ..." or "ended by ...".
    processor_seconds : float
    megabytes : float
        Highest resident memory above that of a process that has decoded nothing.
    music_seconds : float
    """

    answer: str
    processor_seconds: float
    megabytes: float
    music_seconds: float = 0.0


def worker_decode() -> Callable[[bytes], Recording]:
    """Decode as a worker does, under the kernel's bounds if the code under test has them."""
    limits = DecodeLimits()
    try:
        from ccmusic.workers.bounds import DecodingBounds
    except ImportError:  # an earlier version of the code, to compare with
        return lambda content: decode(content, limits)
    return lambda content: decode(content, limits, kernel=DecodingBounds(limits))


def run_numbers(container: str, first: int, last: int, out: int) -> None:
    """Body of the process: decode recordings `first` to `last` - 1, and write two lines for each into `out`."""
    _run([lambda number=number: mutant(container, number).content for number in range(first, last)], out)


def run_plan(plan: Plan, out: int) -> None:
    """Body of the process: decode the recording of one plan."""
    _run([lambda: make(plan).content], out)


def run_content(content: bytes, out: int) -> None:
    """Body of the process: decode these bytes."""
    _run([lambda: content], out)


def _run(sources: list[Callable[[], bytes]], out: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # codecs print what they find
    gc.freeze()
    decode_it = worker_decode()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    base = None
    for make_content in sources:
        content = make_content()
        began = time.process_time()
        resource.setrlimit(resource.RLIMIT_CPU, (int(began) + STOP_SECONDS + 1, resource.RLIM_INFINITY))
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the present
        before = _peak_megabytes()
        base = before if base is None else min(base, before)
        os.write(out, b"%f %f\n" % (began, base))
        answer, music = _answer(decode_it, content)
        cost = time.process_time() - began
        peak = _peak_megabytes() - base
        os.write(out, f"{cost:f} {peak:f} {music:f} {answer}\n".encode())
        if peak > MOST_KEPT_MEGABYTES:
            return  # what it keeps would be counted for the next recordings


def _answer(decode_it: Callable[[bytes], Recording], content: bytes) -> tuple[str, float]:
    try:
        return "decoded", decode_it(content).duration_seconds
    except CcmusicError as error:
        return error.slug, 0.0
    except Exception as error:
        return f"untyped {type(error).__name__}", 0.0


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def prepare() -> None:
    """Make and decode all seeds once, so that the forked processes have them and all that decoders load late."""
    decode_it = worker_decode()
    for name, container in CONTAINERS.items():
        for seed in SEEDS[container]:
            _answer(decode_it, seed_bytes(name, seed))
        mutant(name, 0)


class Process:
    """A forked process that runs one of the functions above.

    Parameters
    ----------
    body : callable
        Takes the descriptor to write to.
    """

    def __init__(self, body: Callable[[int], None]) -> None:
        self.read_end, write_end = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            code = 1
            try:
                os.close(self.read_end)
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                body(write_end)
                code = 0
            finally:
                os._exit(code)
        os.close(write_end)
        self._text = b""
        self.quiet_since = time.monotonic()

    def read(self) -> bool:
        """Take what the process has written; False at its end."""
        piece = os.read(self.read_end, 2**16)
        self._text += piece
        self.quiet_since = time.monotonic()
        return bool(piece)

    def end(self) -> None:
        """Kill it; `outcomes` is to follow."""
        os.kill(self.pid, signal.SIGKILL)

    def outcomes(self) -> list[Outcome]:
        """Wait for the end, and return what became of each recording that was begun. The last may have ended it."""
        while self.read():
            pass
        os.close(self.read_end)
        _, status, usage = os.wait4(self.pid, 0)
        lines = self._text.decode().splitlines()
        made = []
        for line in lines[1::2]:
            cost, megabytes, music, answer = line.split(" ", 3)
            made.append(Outcome(answer, float(cost), float(megabytes), float(music)))
        if len(lines) % 2:
            began, base = map(float, lines[-1].split())
            cost = usage.ru_utime + usage.ru_stime - began
            made.append(Outcome(f"ended by {_ended_by(status)}", cost, usage.ru_maxrss / 1024 - base))
        return made


def _ended_by(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
