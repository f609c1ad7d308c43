"""Makes a model directory from a checkpoint or from a model on a hub, before the workers of a pool start.

This runs in a process of its own, so that its memory is free afterwards, and only once, so that all workers have the
same model.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ccmusic import errors
from ccmusic.errors import CcmusicError, ModelRefused, NoRoom
from ccmusic.health.clock import CLOCK
from ccmusic.health.waits import ThreadTimes, thread_times
from ccmusic.models.store import ModelLocation, locate
from ccmusic.process.child_environment import DOWNLOADS, child_environment
from ccmusic.process.limits import why_not_started
from ccmusic.settings import Settings
from ccmusic.workers.process_info import Silence, StoppedTime
from ccmusic.workers.roster import Roster

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 60.0
SILENCE_FACTOR = 10.0
"""A step of an import may keep the interpreter's lock for a while."""
STOPPED_SECONDS = 3.0
"""A process that is stopped for this time is replaced."""
READER_SECONDS = 5.0
MAX_LINE = 65536
"""Longest line that is read of the process."""
POLL_SECONDS = 0.2
"""Period of the checks whether the roster closes and whether the checkpoint on disk has changed."""

_PROGRAM = """from ccmusic.workers.lifeline import end_with
end_with({lifeline})
import runpy
runpy.run_module("ccmusic.checkpoints", run_name="__main__")
"""


class Preparation(threading.Thread):
    """Runs `ccmusic.checkpoints` until it succeeds or the roster closes.

    Parameters
    ----------
    roster : Roster
        Its location has no directory yet.
    on_prepared : callable
        Called once there is a model directory.

    Attributes
    ----------
    stage : str or None
        The present stage; None if nothing runs.
    """

    def __init__(self, roster: Roster, on_prepared: Callable[[], None]) -> None:
        super().__init__(name="ccmusic-preparation", daemon=True)
        self._roster = roster
        self._on_prepared = on_prepared
        self.stage: str | None = None

    def run(self) -> None:
        """Try until it succeeds. The pause between two tries ends early when the checkpoint on disk changes."""
        closing = self._roster.closing
        pause = FIRST_PAUSE_SECONDS
        while not closing.is_set():
            seen = _state_of(self._roster.location.checkpoint)
            try:
                location, caveat = self._prepare()
            except Exception as failure:  # the thread must try again; for example, no process can be started
                if closing.is_set():
                    return
                error = _as_ours(failure)
                logger.error("preparing the model failed: %s; next try within %.0f s", error, pause)
                self._roster.note_preparation_failure(error)
            else:
                if caveat is not None:
                    logger.warning("%s", caveat)
                self._roster.note_prepared(location, caveat)
                self._on_prepared()
                return
            finally:
                self.stage = None
            deadline = CLOCK.now() + pause
            while CLOCK.now() < deadline and _state_of(self._roster.location.checkpoint) == seen:
                if closing.wait(POLL_SECONDS):
                    return
            pause = min(2 * pause, MAX_PAUSE_SECONDS)

    def _prepare(self) -> tuple[ModelLocation, str | None]:
        location = self._roster.location
        # the configured path may have become a model directory meanwhile
        now = locate(location.configured, location.precision)
        if now.directory is not None:
            return now, None
        if (missing := location.missing()) is not None:
            raise errors.ModelFileNotFound(missing)
        answer = run_importing(location.configured, self._roster.settings, self._roster.closing, self._note_stage)
        return replace(location, directory=Path(answer["directory"])), answer["caveat"]

    def _note_stage(self, stage: str) -> None:
        logger.info("preparing the model: %s", stage)
        self.stage = stage


def run_importing(
    configured: str, settings: Settings, closing: threading.Event, on_stage: Callable[[str], object]
) -> dict[str, Any]:
    """Run ``python -m ccmusic.checkpoints`` and wait for its result.

    Parameters
    ----------
    configured : str
        The setting ``model``.
    settings : Settings
    closing : threading.Event
        Ends the process early when it is set.
    on_stage : callable
        Called with the name of each stage when it begins.

    Returns
    -------
    dict
        ``directory`` and ``caveat``.

    Raises
    ------
    CcmusicError
        The error that the process reported, or that it took too long or was ended.
    """
    lifeline, ours = os.pipe()
    try:
        child = subprocess.Popen(  # noqa: S603  this interpreter, and a module of this package
            [sys.executable, "-c", _PROGRAM.format(lifeline=lifeline)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(lifeline,),
            text=True,
            errors="replace",
            # NumPy's threads spin while they wait, and other processes need the processors
            env=child_environment(*DOWNLOADS, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"),
        )
        with child:
            return _result_of(child, configured, settings, closing, on_stage)
    finally:
        os.close(lifeline)
        os.close(ours)


def _result_of(
    child: subprocess.Popen[str],
    configured: str,
    settings: Settings,
    closing: threading.Event,
    on_stage: Callable[[str], object],
) -> dict[str, Any]:
    assert child.stdin is not None  # noqa: S101  requested above
    watch = ImportWatch(settings.import_timeout_seconds, settings.heartbeat_seconds)
    last: dict[str, Any] = {}

    def read() -> None:
        while line := child.stdout.readline(MAX_LINE) if child.stdout is not None else "":
            watch.note_message(CLOCK.now())
            message = _checked(line)
            last.update(message)
            if "stage" in message:
                on_stage(str(message["stage"]))

    reader = threading.Thread(target=read, name="ccmusic-preparation-reader", daemon=True)
    reader.start()
    why_ended = None
    try:
        # its standard input stays open: where the lifeline does not work, the child ends when it reads the end of it
        child.stdin.write(json.dumps({"model": configured, **_options(settings)}) + "\n")
        child.stdin.flush()
        while child.poll() is None and not closing.is_set() and why_ended is None:
            reader.join(POLL_SECONDS)
            why_ended = watch.why_to_end(CLOCK.now(), thread_times(child.pid))
    except BrokenPipeError:
        pass  # the result is evaluated below
    finally:
        is_running = child.poll() is None
        child.kill()
        code = child.wait()
        reader.join(READER_SECONDS)
    if isinstance(last.get("directory"), str):
        return {"caveat": None, **last}
    if "error" in last:
        raise _error(str(last["error"]), str(last.get("message", "")))
    if why_ended is not None or is_running:
        limit = settings.import_timeout_seconds
        raise ModelRefused(why_ended or f"importing took longer than {limit:g} seconds, or was ended")
    raise ModelRefused(f"the importing process ended with exit code {code}, perhaps because memory is missing")


class ImportWatch:
    """Decides when an importing process must be ended.

    Parameters
    ----------
    timeout_seconds : float
        Longest time of an import.
    heartbeat_seconds : float
        The setting; the process sends a message every second, and a tenfold pause is allowed.
    """

    def __init__(self, timeout_seconds: float, heartbeat_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._allowed = SILENCE_FACTOR * max(1.0, heartbeat_seconds)
        self._stopped = StoppedTime()
        self._began_at = self._message_at = CLOCK.now()
        self._silence = Silence()
        self._has_begun = False

    def note_message(self, now: float) -> None:
        """The process has sent a line."""
        self._message_at = now
        self._has_begun = True

    def why_to_end(self, now: float, threads: dict[str, ThreadTimes]) -> str | None:
        """Why to end the process now; None if it may continue.

        Parameters
        ----------
        now : float
            The present time on the clock of this process.
        threads : dict of str to ThreadTimes
            What `thread_times` returns for the process.
        """
        if now - self._began_at > self._timeout_seconds:
            return f"importing took longer than {self._timeout_seconds:g} seconds"
        if (stopped := self._stopped.read(now, threads)) > STOPPED_SECONDS:
            return f"the importing process was stopped for {stopped:.0f} seconds, so it was ended"
        if not self._has_begun:  # its libraries are imported first
            return None
        main_thread = min(map(int, threads), default=0)
        silent = self._silence.seconds(now, now - self._message_at, self._allowed, main_thread, lambda: threads)
        return None if silent is None else f"the importing process gave no sign of life for {silent:.0f} seconds"


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "model_cache": str(settings.model_cache.expanduser().absolute()),
        "import_audio": None if settings.import_audio is None else str(settings.import_audio.absolute()),
        "hub_endpoint": settings.hub_endpoint,
        "hub_token_to_mirror": settings.hub_token_to_mirror,
        "hub_offline": settings.hub_offline,
        "threads": settings.threads_per_worker,
    }


def _checked(line: str) -> dict[str, Any]:
    """One message of the process; an empty one for anything that is none. It reads files of strangers."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    is_message = isinstance(message, dict) and all(isinstance(value, str | int | None) for value in message.values())
    return message if is_message else {}


def _as_ours(failure: Exception) -> CcmusicError:
    if isinstance(failure, CcmusicError):
        return failure
    if isinstance(failure, OSError) and failure.errno in (errno.EAGAIN, errno.ENOMEM):
        return NoRoom(why_not_started(failure.errno))
    logger.error("preparing the model failed", exc_info=failure)
    return ModelRefused(f"preparing the model failed: {type(failure).__name__}: {failure}")


def _error(name: str, message: str) -> CcmusicError:
    """The error that the process reported: its class by name, with its message as the only argument."""
    kind = getattr(errors, name) if name in errors.__all__ else ModelRefused
    return kind(message) if issubclass(kind, errors.ModelError) else ModelRefused(message)


def _state_of(checkpoint: Path | None) -> tuple[int, int] | None:
    if checkpoint is None:
        return None
    try:
        status = checkpoint.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
