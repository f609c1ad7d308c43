"""Is this machine fit to serve? What `ccmusic doctor` looks at when no service runs."""

from __future__ import annotations

import errno
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ccmusic.errors import CcmusicError
from ccmusic.operations.asking import Answer, ask
from ccmusic.version import SERVICE

if TYPE_CHECKING:  # the rest is imported where it is used: a command line should start at once
    from ccmusic.settings import Settings

OLDEST_PYTHON = (3, 11)
IMPORT_NAMES = {"pillow": "PIL"}
"""Of packages whose modules have another name than they."""
WORKER_BYTES = 300 * 2**20
"""What a worker takes while it listens to a few minutes of sound, generously."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis."""

    verdict: Literal["ok", "warn", "FAIL"]
    name: str
    words: str


def _python(_: Settings) -> Iterator[Finding]:
    words = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if tuple(map(int, platform.python_version_tuple()[:2])) >= OLDEST_PYTHON:
        yield Finding("ok", "python", words)
    else:
        yield Finding("FAIL", "python", f"{words}; install {'.'.join(map(str, OLDEST_PYTHON))} or later")


def _libraries(settings: Settings) -> Iterator[Finding]:
    required = importlib.metadata.requires("ccmusic") or []
    names = [re.split(r"[^\w.-]", text)[0] for text in required if "extra ==" not in text]
    found = []
    for name in names:
        try:
            importlib.import_module(IMPORT_NAMES.get(name, name.replace("-", "_")))
            found.append(f"{name} {importlib.metadata.version(name)}")
        except Exception as error:  # whatever a broken library raises as it is imported
            yield Finding("FAIL", name, f"cannot be imported: {error}; install the locked packages again")
    yield Finding("ok", "libraries", ", ".join(found))
    if settings.page and importlib.util.find_spec("gradio") is None:
        yield Finding("FAIL", "gradio", "is not installed: install ccmusic[page], or set CCMUSIC_PAGE=false")


def _cores(settings: Settings) -> Iterator[Finding]:
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    words = f"{cores:g} to run on"
    if (quota := cpu_quota(Path("/sys/fs/cgroup"))) is not None and quota < cores:
        cores, words = quota, f"{words}, of which the control group allows the time of {quota:g}"
    if settings.workers > max(1.0, cores):
        yield Finding("warn", "cores", f"{words}; {settings.workers} workers get in each other's way: lower the number")
    else:
        yield Finding("ok", "cores", f"{words}; {settings.workers} workers")


def cpu_quota(group: Path) -> float | None:
    """Cores' worth of time that the control group (version 2, else 1) allows; None without a limit."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / "cpu" / f"cpu.cfs_{word}_us").read_text() for word in ("quota", "period"))
        return float(quota) / float(period) if quota.strip() not in ("max", "-1") else None
    except (OSError, ValueError):
        return None


def _memory(settings: Settings) -> Iterator[Finding]:
    from ccmusic.health.memory import memory_use

    use = memory_use()
    if use is None:
        yield Finding("warn", "memory", "this system does not tell how much there is")
        return
    free, wanted = use.limit_bytes - use.used_bytes, settings.workers * WORKER_BYTES
    words = f"{free / 2**30:.1f} of {use.limit_bytes / 2**30:.1f} GiB are free, by the {use.limited_by}'s limit"
    if free < wanted:
        yield Finding("warn", "memory", f"{words}; {settings.workers} workers may want {wanted / 2**30:.1f}: use fewer")
    else:
        yield Finding("ok", "memory", words)


def _temporary(settings: Settings) -> Iterator[Finding]:
    from ccmusic.health import disk_check

    directory = tempfile.gettempdir()
    seen = disk_check(directory).observe()
    free = shutil.disk_usage(directory).free
    words = f"{directory} can be written to, {free / 2**30:.1f} GiB are free"
    if seen is not None and seen.status == "fail":
        yield Finding("FAIL", "temporary files", f"{seen.cause}; make room, or name another directory with TMPDIR")
    elif free < settings.max_upload_bytes:
        yield Finding("warn", "temporary files", f"{words}, less than one upload may have: make room")
    else:
        yield Finding("ok", "temporary files", words)


def _model(settings: Settings) -> Iterator[Finding]:
    from ccmusic.classifier import open_pipeline

    began = time.perf_counter()
    try:
        pipeline = open_pipeline(settings)
    except CcmusicError as error:
        words = f"{type(error).__name__}: {error}; look at CCMUSIC_MODEL ({settings.model}), or fetch the model again"
        yield Finding("FAIL", "model", words)
        return
    seconds = time.perf_counter() - began
    held = pipeline.identity
    words = f"{held.name} {held.version} {held.sha256[:12]} on {pipeline.backend}: hash right, golden clips right"
    yield Finding("ok", "model", f"{words}, {seconds:.2f} s in all")


def _port(settings: Settings) -> Iterator[Finding]:
    from ccmusic.health import listen

    try:
        listen(settings.host, settings.port).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            words = f"{settings.host}:{settings.port}: {error.strerror}; choose another with CCMUSIC_PORT"
            yield Finding("FAIL", "port", words)
            return
    else:
        yield Finding("ok", "port", f"{settings.host}:{settings.port} is free")
        return
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104  a comparison
    try:
        answer = ask(f"http://{host}:{settings.port}", "/health")
    except OSError as error:
        answer = Answer(0, str(error).encode())
    if answer.field("service") == SERVICE:
        words = f"CCMusic {answer.field('version')} answers on {settings.port} already: {answer.field('status')}"
        yield Finding("ok", "port", words)
    else:
        words = f"{settings.port} is held by something that is not CCMusic; stop it, or choose another: CCMUSIC_PORT"
        yield Finding("FAIL", "port", words)


def _clock(_: Settings) -> Iterator[Finding]:
    readings = [time.monotonic() for _ in range(10_000)]
    before, wall = time.monotonic(), time.time()
    threading.Event().wait(0.05)
    passed = time.monotonic() - before
    if readings != sorted(readings) or not 0.04 < passed < 5.0:
        yield Finding("FAIL", "clock", "the monotonic clock does not run as it should; every deadline hangs on it")
    elif wall < time.mktime((2025, 1, 1, 0, 0, 0, 0, 0, 0)):
        yield Finding("warn", "clock", f"the wall clock says {time.strftime('%Y-%m-%d')}: set it, for the log's sake")
    else:
        yield Finding("ok", "clock", "the monotonic clock runs steadily")


def _fork_server(settings: Settings) -> Iterator[Finding]:
    from ccmusic.workers.worker_process import worker_context

    context = worker_context()
    method = context.get_start_method()
    began = time.perf_counter()
    process = context.Process(target=_nothing)  # type: ignore[attr-defined]  # BaseContext's own have it
    process.start()
    process.join(60)
    words = f"{method}: a process started and ended within {time.perf_counter() - began:.2f} s"
    if process.exitcode != 0:
        process.kill()
        yield Finding("FAIL", "processes", f"{method}: a process ended with {process.exitcode}; look at ulimit -u")
    elif method != "forkserver":
        yield Finding("warn", "processes", f"{words}; without a fork server a lost worker is replaced more slowly")
    else:
        yield Finding("ok", "processes", words)


def _nothing() -> None:
    """What a process does that is only to start and end."""


MACHINE: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _python, _libraries, _cores, _memory, _temporary, _model, _port, _clock, _fork_server,
)  # fmt: skip
