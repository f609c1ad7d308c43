"""Decodes mutated recordings in a process of its own, as a worker decodes them, and reports what each one cost."""

from __future__ import annotations

import gc
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import av

from ccmusic.audio.decode import DecodeLimits, Recording, decode
from ccmusic.errors import CcmusicError
from fuzz.mutant import CONTAINERS, Plan, make, mutant, seed_bytes
from fuzz.seeds import SEEDS

MB = 2**20
STOP_SECONDS = 2
"""Processor time after which a decoding is ended, if the code under test has no bound of its own."""
LONGEST_SECONDS = 300
"""The same if it has one: more than the longest recording may take, so that only a broken bound reaches it."""
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
        Length of the music that was decoded, also if the recording was refused after it (to 5 s).
    codec : str
        FFmpeg's decoder that a decoded recording needed; empty if libsndfile decoded it.
    size : int
        Bytes of the recording.
    """

    answer: str
    processor_seconds: float
    megabytes: float
    music_seconds: float = 0.0
    codec: str = ""
    size: int = 0


class Watched:
    """The bounds of a worker, and how much music was decoded under them."""

    def __init__(self, bounds: Any, tell: Callable[[float], object]) -> None:
        self._bounds = bounds
        self._tell = tell

    def allow(self, music_seconds: float, processor_seconds: float) -> None:
        self._bounds.allow(music_seconds, processor_seconds)
        self._tell(music_seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bounds, name)


def worker_decode(tell: Callable[[float], object]) -> tuple[Callable[[bytes], Recording], int]:
    """How a worker decodes, and the processor time to stop it after.

    The kernel's bounds hold if the code under test has them; `tell` gets the seconds of music so far.
    """
    limits = DecodeLimits()
    try:
        from ccmusic.audio.kernel_bounds import DecodingBounds
    except ImportError:  # an earlier version of the code, to compare with
        return lambda content: decode(content, limits), STOP_SECONDS
    return lambda content: decode(content, limits, kernel=Watched(DecodingBounds(limits), tell)), LONGEST_SECONDS


def watch_codecs() -> list[str]:
    """A list to which the name of each decoder of FFmpeg is added when a file is opened."""
    opened: list[str] = []
    really_open = av.open

    def open_and_note(*args: Any, **options: Any) -> Any:
        media = really_open(*args, **options)
        sounds = media.streams.audio[:1]
        opened.extend(sound.codec_context.name for sound in sounds if sound.codec_context)
        return media

    av.open = open_and_note
    return opened


def run_numbers(container: str, numbers: range, out: int) -> None:
    """Body of the process: decode these recordings, and write what becomes of each into `out`."""
    _run([lambda number=number: mutant(container, number).content for number in numbers], out)


def run_plan(plan: Plan, out: int) -> None:
    """Body of the process: decode the recording of one plan."""
    _run([lambda: make(plan).content], out)


def run_content(content: bytes, out: int) -> None:
    """Body of the process: decode these bytes."""
    _run([lambda: content], out)


def _run(sources: list[Callable[[], bytes]], out: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # codecs print what they find
    gc.freeze()
    opened = watch_codecs()
    decode_it, stop_seconds = worker_decode(lambda seconds: os.write(out, b"music %f\n" % seconds) if seconds else None)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    base = _reset_peak()
    for make_content in sources:
        content = make_content()
        opened.clear()
        began = time.process_time()
        resource.setrlimit(resource.RLIMIT_CPU, (int(began) + stop_seconds + 1, resource.RLIM_INFINITY))
        _reset_peak()
        os.write(out, b"began %f %f %d\n" % (began, base, len(content)))
        answer, music = _answer(decode_it, content)
        cost = time.process_time() - began
        peak = _peak_megabytes() - base
        codec = opened[-1] if opened and answer == "decoded" else ""
        os.write(out, f"ended {cost:f} {peak:f} {music:f} {codec or '-'} {answer}\n".encode())
        if peak > MOST_KEPT_MEGABYTES:
            return  # what it keeps would be counted for the next recordings


def _answer(decode_it: Callable[[bytes], Recording], content: bytes) -> tuple[str, float]:
    try:
        return "decoded", decode_it(content).duration_seconds
    except CcmusicError as error:
        return error.slug, 0.0
    except Exception as error:
        return f"untyped {type(error).__name__}", 0.0


def _reset_peak() -> float:
    """Set the peak to the present, and return it in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_megabytes()


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def prepare() -> None:
    """Make and decode all seeds once, so that the forked processes have them and all that decoders load late."""
    decode_it, _ = worker_decode(lambda seconds: None)
    for name, container in CONTAINERS.items():
        for seed in SEEDS[container]:
            _answer(decode_it, seed_bytes(name, seed))
        mutant(name, 1)


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
        self.processor_seconds = 0.0
        self.quiet_since = time.monotonic()

    def read(self) -> bool:
        """Take what the process has written; False at its end."""
        piece = os.read(self.read_end, 2**16)
        self._text += piece
        self.quiet_since = time.monotonic()
        return bool(piece)

    @property
    def waits(self) -> bool:
        """Whether it waits for something other than a processor."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"

    def end(self) -> None:
        """Kill it; `outcomes` is to follow."""
        os.kill(self.pid, signal.SIGKILL)

    def outcomes(self) -> list[Outcome]:
        """Wait for the end, and return what became of each recording that was begun. The last may have ended it."""
        while self.read():
            pass
        os.close(self.read_end)
        _, status, usage = os.wait4(self.pid, 0)
        self.processor_seconds = usage.ru_utime + usage.ru_stime
        made: list[Outcome] = []
        began, base, size, music = 0.0, 0.0, 0.0, 0.0
        begun = False
        for line in self._text.decode().splitlines():
            word, *rest = line.split(" ", 1)
            if word == "began":
                begun, music = True, 0.0
                began, base, size = map(float, rest[0].split())
            elif word == "music":
                music = float(rest[0])
            else:
                begun = False
                cost, megabytes, decoded, codec, answer = rest[0].split(" ", 4)
                length = max(float(decoded), music)
                made.append(Outcome(answer, float(cost), float(megabytes), length, codec.strip("-"), int(size)))
        if begun:
            cost = self.processor_seconds - began
            ended = f"ended by {_ended_by(status)}"
            made.append(Outcome(ended, cost, usage.ru_maxrss / 1024 - base, music, size=int(size)))
        return made


def _ended_by(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
