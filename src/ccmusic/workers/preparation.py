"""Makes a model directory of a checkpoint, or of what a hub holds, before a pool's workers start.

In a process of its own, whose memory goes with it, and once, so that all workers hold the same model.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccmusic import errors
from ccmusic.errors import CcmusicError, ModelRefused
from ccmusic.models.store import ModelLocation, locate
from ccmusic.settings import Settings

if TYPE_CHECKING:
    from ccmusic.workers.pool import Pool

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 60.0
POLL_SECONDS = 0.2
"""How often the closing of the pool, and a file that was missing or is being replaced, are looked for."""


class Preparation(threading.Thread):
    """Runs `ccmusic.checkpoints` until it succeeds or the pool closes, and then starts the workers.

    Parameters
    ----------
    pool : Pool
        Its location has no directory yet.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__(name="ccmusic-preparation", daemon=True)
        self._pool = pool
        self.stage: str | None = None

    def run(self) -> None:
        """Try, and try again with a pause that ends early when the checkpoint on disk changes."""
        pause = FIRST_PAUSE_SECONDS
        while not self._pool.closing.is_set():
            seen = _state_of(self._pool.location.checkpoint)
            try:
                location, caveat = self._prepare()
            except CcmusicError as error:
                if self._pool.closing.is_set():
                    return
                logger.error("preparing the model failed: %s; next try in %.0f s at the latest", error, pause)
                self._pool.preparing_failed(error)
            else:
                if caveat is not None:
                    logger.warning("%s", caveat)
                self._pool.prepared(location, caveat)
                return
            finally:
                self.stage = None
            deadline = time.monotonic() + pause
            while time.monotonic() < deadline and _state_of(self._pool.location.checkpoint) == seen:
                if self._pool.closing.wait(POLL_SECONDS):
                    return
            pause = min(2 * pause, MAX_PAUSE_SECONDS)

    def _prepare(self) -> tuple[ModelLocation, str | None]:
        location = self._pool.location
        # what the setting names may have become a model directory meanwhile
        now = locate(location.configured, location.precision)
        if now.directory is not None:
            return now, None
        if (missing := location.missing()) is not None:
            raise errors.ModelFileNotFound(missing)
        answer = run_importing(location.configured, self._pool.settings, self._pool.closing, self._note_stage)
        return replace(location, directory=Path(answer["directory"])), answer["caveat"]

    def _note_stage(self, stage: str) -> None:
        logger.info("preparing the model: %s", stage)
        self.stage = stage


def run_importing(
    configured: str, settings: Settings, closing: threading.Event, on_stage: Callable[[str], object]
) -> dict[str, Any]:
    """Run ``python -m ccmusic.checkpoints`` and wait for what it says last.

    Parameters
    ----------
    configured : str
        The setting ``model``.
    settings : Settings
    closing : threading.Event
        Ends it early.
    on_stage : callable
        Told each stage as it begins.

    Returns
    -------
    dict
        ``directory`` and ``caveat``.

    Raises
    ------
    CcmusicError
        What the process raised, or that it took too long or was ended.
    """
    child = subprocess.Popen(  # our own interpreter, our own module
        [sys.executable, "-m", "ccmusic.checkpoints"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # NumPy's threads spin while they wait, and the machine is not this process's alone
        env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **os.environ},
    )
    assert child.stdin is not None  # noqa: S101  asked for above
    assert child.stdout is not None  # noqa: S101
    last: dict[str, Any] = {}

    def read() -> None:
        for line in child.stdout or ():
            said = json.loads(line)
            last.update(said)
            if "stage" in said:
                on_stage(said["stage"])

    reader = threading.Thread(target=read, name="ccmusic-preparation-reader", daemon=True)
    reader.start()
    deadline = time.monotonic() + settings.import_timeout_seconds
    try:
        # its standard input stays open: when it reads as ended, we have gone, and so does the process
        child.stdin.write(json.dumps({"model": configured, **_options(settings)}) + "\n")
        child.stdin.flush()
        while child.poll() is None and not closing.is_set() and time.monotonic() < deadline:
            reader.join(POLL_SECONDS)
    except BrokenPipeError:
        pass  # how it ended is told below
    finally:
        timed_out = child.poll() is None
        child.kill()
        code = child.wait()
        reader.join()
        child.stdin.close()
        child.stdout.close()
    if "directory" in last:
        return last
    if "error" in last:
        raise _error(last["error"], last["message"])
    if timed_out:
        raise ModelRefused(f"importing took longer than {settings.import_timeout_seconds:g} seconds, or was ended")
    raise ModelRefused(f"the importing process ended with exit code {code}, perhaps for want of memory")


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "model_cache": str(settings.model_cache.expanduser().absolute()),
        "import_audio": None if settings.import_audio is None else str(settings.import_audio.absolute()),
        "hub_endpoint": settings.hub_endpoint,
        "hub_token_to_mirror": settings.hub_token_to_mirror,
        "hub_offline": settings.hub_offline,
        "threads": settings.threads_per_worker,
    }


def _error(name: str, message: str) -> CcmusicError:
    """The error that the process raised, by its class's name; its message stands in place of what it was made of."""
    kind = getattr(errors, name)
    return kind(message) if issubclass(kind, errors.ModelError) else ModelRefused(message)


def _state_of(checkpoint: Path | None) -> tuple[int, int] | None:
    if checkpoint is None:
        return None
    try:
        status = checkpoint.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
