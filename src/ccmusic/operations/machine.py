"""The checks that `ccmusic doctor` makes of this machine."""

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
from ccmusic.operations.http_client import Response, request
from ccmusic.version import SERVICE

if TYPE_CHECKING:  # imported late: the command line must start fast
    from ccmusic.settings import Settings

OLDEST_PYTHON = (3, 11)
IMPORT_NAMES = {"pillow": "PIL"}
"""The modules of packages that have another name than their module."""
WORKER_BYTES = 300 * 2**20
"""Memory of a worker that classifies a recording of a few minutes, with a margin."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check."""

    verdict: Literal["ok", "warn", "FAIL"]
    name: str
    text: str


def _python(_: Settings) -> Iterator[Finding]:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if tuple(map(int, platform.python_version_tuple()[:2])) >= OLDEST_PYTHON:
        yield Finding("ok", "python", text)
    else:
        yield Finding("FAIL", "python", f"{text}; install {'.'.join(map(str, OLDEST_PYTHON))} or later")


def _libraries(settings: Settings) -> Iterator[Finding]:
    required = importlib.metadata.requires("ccmusic") or []
    names = {re.split(r"[^\w.-]", text)[0] for text in required if "extra ==" not in text}
    has_ffmpeg = importlib.util.find_spec("av") is not None
    names = names | {"av"} if has_ffmpeg else names - {"av"}
    found = []
    for name in sorted(names):
        try:
            importlib.import_module(IMPORT_NAMES.get(name, name.replace("-", "_")))
            found.append(f"{name} {importlib.metadata.version(name)}")
        except Exception as error:  # a broken library may raise anything when it is imported
            yield Finding("FAIL", name, f"cannot be imported: {error}; install the locked packages again")
    yield Finding("ok", "libraries", ", ".join(found))
    if not has_ffmpeg:
        yield Finding(
            "warn", "av", "is not installed: M4A, AAC, WMA, WebM and others are refused; install ccmusic[codecs]"
        )
    if settings.page and importlib.util.find_spec("gradio") is None:
        yield Finding("FAIL", "gradio", "is not installed: install ccmusic[page], or set CCMUSIC_PAGE=false")


def _cores(settings: Settings) -> Iterator[Finding]:
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    text = f"{cores:g} available"
    if (quota := cpu_quota(Path("/sys/fs/cgroup"))) is not None and quota < cores:
        cores, text = quota, f"{text}, of which the control group allows {quota:g}"
    if settings.workers > max(1.0, cores):
        yield Finding("warn", "cores", f"{text}; {settings.workers} workers are more than the cores: use fewer")
    else:
        yield Finding("ok", "cores", f"{text}; {settings.workers} workers")


def cpu_quota(group: Path) -> float | None:
    """Return the number of cores that the control group (version 2, else 1) allows; None without a limit."""
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
        yield Finding("warn", "memory", "this system does not report its memory")
        return
    free, wanted = use.limit_bytes - use.used_bytes, settings.workers * WORKER_BYTES
    text = f"{free / 2**30:.1f} of {use.limit_bytes / 2**30:.1f} GiB are free, by the {use.limited_by}'s limit"
    if free < wanted:
        yield Finding("warn", "memory", f"{text}; {settings.workers} workers may need {wanted / 2**30:.1f}: use fewer")
    else:
        yield Finding("ok", "memory", text)


def _temporary(settings: Settings) -> Iterator[Finding]:
    from ccmusic.health import disk_check

    directory = tempfile.gettempdir()
    seen = disk_check(directory).observe()
    free = shutil.disk_usage(directory).free
    text = f"{directory} can be written to, {free / 2**30:.1f} GiB are free"
    if seen is not None and seen.status == "fail":
        yield Finding("FAIL", "temporary files", f"{seen.cause}; make room, or name another directory with TMPDIR")
    elif free < settings.max_upload_bytes:
        yield Finding("warn", "temporary files", f"{text}, less than the largest upload: make room")
    else:
        yield Finding("ok", "temporary files", text)


def _model(settings: Settings) -> Iterator[Finding]:
    from ccmusic.classifier import open_pipeline

    began = time.perf_counter()
    try:
        pipeline = open_pipeline(settings)
    except CcmusicError as error:
        text = f"{type(error).__name__}: {error}; check CCMUSIC_MODEL ({settings.model}), or fetch the model again"
        yield Finding("FAIL", "model", text)
        return
    seconds = time.perf_counter() - began
    identity = pipeline.identity
    text = f"{identity.name} {identity.version} {identity.sha256[:12]} on {pipeline.backend}"
    yield Finding("ok", "model", f"{text}: hash right, golden clips right, {seconds:.2f} s in total")


def _port(settings: Settings) -> Iterator[Finding]:
    from ccmusic.health.addresses import CannotListen, address, local_address
    from ccmusic.health.listen import listen

    try:
        listen(settings.host, settings.port).close()
    except CannotListen as error:
        if error.errno != errno.EADDRINUSE:
            yield Finding("FAIL", "port", f"{error} (CCMUSIC_HOST, CCMUSIC_PORT)")
            return
    else:
        yield Finding("ok", "port", f"{address(settings.host, settings.port)} is free")
        return
    try:
        response = request(f"http://{local_address(settings.host, settings.port)}", "/health")
    except OSError as error:
        response = Response(0, str(error).encode())
    if response.field("service") == SERVICE:
        text = f"CCMusic {response.field('version')} answers on {settings.port} already: {response.field('status')}"
        yield Finding("ok", "port", text)
    else:
        text = f"{settings.port} is used by a program that is not CCMusic; stop it, or set CCMUSIC_PORT"
        yield Finding("FAIL", "port", text)


def _clock(_: Settings) -> Iterator[Finding]:
    readings = [time.monotonic() for _ in range(10_000)]
    before, wall = time.monotonic(), time.time()
    threading.Event().wait(0.05)
    passed = time.monotonic() - before
    if readings != sorted(readings) or not 0.04 < passed < 5.0:
        yield Finding("FAIL", "clock", "the monotonic clock is wrong; every deadline depends on it")
    elif wall < time.mktime((2025, 1, 1, 0, 0, 0, 0, 0, 0)):
        yield Finding(
            "warn", "clock", f"the wall clock shows {time.strftime('%Y-%m-%d')}: set it, because the log uses it"
        )
    else:
        yield Finding("ok", "clock", "the monotonic clock runs steadily")


def _fork_server(settings: Settings) -> Iterator[Finding]:
    from ccmusic.workers.fork_server import ForkServer
    from ccmusic.workers.worker_process import try_out

    began = time.perf_counter()
    server = ForkServer(start_seconds=settings.load_timeout_seconds)
    try:
        code = try_out(server)
    except OSError as error:
        yield Finding("FAIL", "processes", f"{error}; check ulimit -u")
        return
    finally:
        server.stop()
    if code != 0:
        yield Finding("FAIL", "processes", f"a process ended with {code}; check ulimit -u")
    else:
        seconds = time.perf_counter() - began
        yield Finding("ok", "processes", f"fork server: it and a process started and ended within {seconds:.2f} s")


MACHINE_CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _python, _libraries, _cores, _memory, _temporary, _model, _port, _clock, _fork_server,
)  # fmt: skip
