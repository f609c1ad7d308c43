"""Injected faults, so that drills and operators can see that the detectors work.

Nothing in this module has an effect unless the setting ``fault_injection`` is on. The supervisor injects the faults
that come from outside a process (kill, freeze). The others happen here, inside a worker, and are as real as possible:
native code that holds the interpreter's lock, a segmentation fault, flipped bits in the memory that the network uses.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ccmusic.errors import CcmusicError
from ccmusic.models.store import ModelLocation, read_model
from ccmusic.workers.channel import Job, WorkerOptions

if TYPE_CHECKING:
    from ccmusic.inference.pipeline import Pipeline

FAULTS: dict[str, str] = {
    "kill": "the worker gets SIGKILL, as from the system's out-of-memory killer",
    "freeze": "the worker is stopped with SIGSTOP",
    "hold-gil": "native code in the worker holds the interpreter's lock for `size` seconds",
    "hang-next": "the worker's next job is an endless loop",
    "lock-next": "the worker's next job waits for a lock forever",
    "segfault-next": "the worker's next job reads address 0",
    "corrupt-weights": "bit number `size` of one weight is flipped in the worker's memory",
    "nan-weights": "the weights of one tensor in the worker's memory become NaN",
    "leak": "each job leaks `size` MB of memory, until cleared",
    "error": "each job fails with an internal error, until cleared",
    "exit-at-start": "each new worker ends at once, until cleared",
    "skew-resampler": "each new worker resamples by nearest neighbour, until cleared",
    "skew-hop": "each new worker shifts its frames by half a hop, until cleared",
    "skew-db": "each new worker halves its decibels (amplitude taken for power), until cleared",
    "pause-self-test": "no worker runs self-tests, until cleared",
    "block-loop": "the HTTP loop is blocked for `size` seconds",
}
"""All faults by name, with their effect."""

DEFAULT_SIZE = {"hold-gil": 30.0, "corrupt-weights": 12.0, "leak": 50.0, "block-loop": 5.0}
"""Used if no size is given. A comparison with a tolerance would miss a flip of bit 12; bit 30 makes answers wrong."""

STICKY = {"leak", "error", "exit-at-start", "skew-resampler", "skew-hop", "skew-db", "pause-self-test"}
FROM_OUTSIDE = {"kill", "freeze", "pause-self-test", "block-loop"}

N_END_BYTES = 64
MARK = b"ccmusic-fault:"
"""A recording injects a fault if it ends with this and ``segfault``, ``hang``, ``lock``, ``error``, ``hold-gil`` or
``exit``."""


class ActiveFaults:
    """The faults that are active in this worker.

    Parameters
    ----------
    options : WorkerOptions
    """

    def __init__(self, options: WorkerOptions) -> None:
        self._enabled = options.fault_injection
        self._location = options.location
        self._next: str | None = None
        self._sticky = dict(options.faults) if self._enabled else {}
        self._ballast: list[bytes] = []
        if "exit-at-start" in self._sticky:
            os._exit(3)
        for name in self._sticky:
            if name.startswith("skew-"):
                _SKEWS[name]()

    def inject(self, fault: str, size: float, pipeline: Pipeline) -> int:
        """Inject a fault; returns the number of places in memory that it changed."""
        if not self._enabled:
            return 0
        match fault:
            case "hold-gil":
                _hold_gil(size)
            case "hang-next" | "lock-next" | "segfault-next":
                self._next = fault.removesuffix("-next")
            case "corrupt-weights":
                bit = np.uint32(1 << int(size))
                return _alter_weights(pipeline, self._location, lambda weights: _flip(weights, bit))
            case "nan-weights":
                return _alter_weights(pipeline, self._location, lambda weights: weights.fill(np.nan))
            case "leak" | "error":
                self._sticky[fault] = size
            case "clear":
                self._sticky.clear()
                self._ballast.clear()
        return 0

    def before(self, job: Job) -> None:
        """Called with each job, before the pipeline."""
        if not self._enabled:
            return
        if "leak" in self._sticky:
            self._ballast.append(os.urandom(int(self._sticky["leak"] * 2**20)))  # random: no shared pages
        if "error" in self._sticky:
            raise RuntimeError("a fault was injected: error")
        fault, self._next = self._next, None
        if MARK in (end := _end_of(job.source)):
            fault = end.rpartition(MARK)[2].strip().decode("ascii", "replace")
        match fault:
            case "segfault":
                ctypes.string_at(0)
            case "hang":
                while True:
                    pass
            case "lock":
                lock = threading.Lock()
                lock.acquire()
                lock.acquire()
            case "hold-gil":
                _hold_gil(3600.0)
            case "exit":
                os._exit(7)
            case "error":
                raise RuntimeError("a fault was injected: error")


def _end_of(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return source[-N_END_BYTES:]
    with source.open("rb") as file:  # a large recording
        file.seek(max(0, source.stat().st_size - N_END_BYTES))
        return file.read()


def _flip(weights: np.ndarray, bit: np.uint32) -> None:
    weights.view(np.uint32)[np.flatnonzero(weights)[:1]] ^= bit  # the first weight that is not 0


def _hold_gil(seconds: float) -> None:
    # PyDLL calls without releasing the interpreter's lock
    ctypes.PyDLL(None).usleep(ctypes.c_uint(int(min(seconds, 4000.0) * 1e6)))


# memory


def _alter_weights(pipeline: Pipeline, location: ModelLocation, alter: Callable[[np.ndarray], object]) -> int:
    """Change a tensor of the network in the memory of this process, until the answers change.

    The runtime repacks some tensors, so their bytes in the file are not found in memory. So each tensor is tried, the
    smallest first. Returns the number of places changed; 0 if the answers did not change.
    """
    _, model = read_model(location)
    expected = pipeline.verify()
    for raw in sorted(float_tensors(model), key=len):
        if len(raw) < 32 or not any(raw):
            continue
        weights = np.frombuffer(raw, np.float32)
        own_copy = weights.ctypes.data  # must not change: the other places are compared with it
        weights = weights.copy()
        alter(weights)
        altered = weights.tobytes()
        places = [place for place in _occurrences(raw) if place != own_copy and _replace(place, raw, altered)]
        try:
            changed = pipeline.verify() != expected
        except CcmusicError:
            changed = True
        if changed:
            return len(places)
    return 0


def _replace(address: int, expected: bytes, replacement: bytes) -> bool:
    """Overwrite the bytes at an address, unless they have changed since they were found there.

    The bytes may have been in memory that is free now. If it has been used for something else, overwriting it would be
    a different fault than the requested one. Nothing is allocated between the comparison and the write.
    """
    if _memcmp(address, expected, len(expected)) != 0:
        return False
    ctypes.memmove(address, replacement, len(replacement))
    return True


_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)


def _occurrences(needle: bytes) -> list[int]:
    """Addresses of these bytes in this process's writable memory."""
    found = []
    pattern = re.compile(re.escape(needle), re.DOTALL)
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, permissions, *rest = line.split(maxsplit=5)
        if not permissions.startswith("rw") or (len(rest) == 4 and rest[3].startswith(("[v", "/dev", "/memfd"))):
            continue
        start, end = (int(part, 16) for part in span.split("-"))
        memory = (ctypes.c_char * (end - start)).from_address(start)
        found += [start + match.start() for match in pattern.finditer(memory)]
    return found


def float_tensors(model: bytes) -> Iterator[bytes]:
    """Raw bytes of each float tensor in an ONNX file, read as a protocol buffer."""
    for field, graph in _fields(model):
        if field != 7:
            continue
        for inner, tensor in _fields(graph):
            if inner == 5:
                parts = dict(_fields(tensor))
                if 9 in parts and parts.get(2) == b"\x01":
                    yield parts[9]


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        start = position
        match key & 7:
            case 0:
                _, position = _varint(message, position)
            case 1:
                position += 8
            case 2:
                length, start = _varint(message, position)
                position = start + length
            case _:
                position += 4
        yield key >> 3, message[start:position]


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


# wrong signal processing


def _skew_resampler() -> None:
    import soxr

    class Nearest:
        """Resamples by nearest neighbour, without a filter."""

        def __init__(self, in_rate: float, out_rate: float, *_: object, **__: object) -> None:
            self._step = in_rate / out_rate

        def resample_chunk(self, block: np.ndarray, last: bool = False) -> np.ndarray:
            places = (np.arange(int(len(block) / self._step)) * self._step).astype(int)
            return np.asarray(block[places])

    soxr.ResampleStream = Nearest


def _skew_hop() -> None:
    from ccmusic.features.cqt import HOP_LENGTH

    _replace_cqt(lambda original, waveform: original(waveform[HOP_LENGTH // 2 :]))


def _skew_db() -> None:
    _replace_cqt(lambda original, waveform: original(waveform) / 2)


def _replace_cqt(skewed: Callable[[Callable[[np.ndarray], np.ndarray], np.ndarray], np.ndarray]) -> None:
    """Replace the CQT in the table of spectrograms; `skewed` gets the original function and the waveform."""
    from ccmusic.inference.front_end import SPECTROGRAMS

    row = SPECTROGRAMS["cqt_db"]
    SPECTROGRAMS["cqt_db"] = replace(row, compute=lambda waveform: np.asarray(skewed(row.compute, waveform)))


_SKEWS = {"skew-resampler": _skew_resampler, "skew-hop": _skew_hop, "skew-db": _skew_db}
