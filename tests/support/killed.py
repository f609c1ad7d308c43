"""`apply` and `undo` in a process that is killed, as by ``kill -9``, after a step."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from pathlib import Path

from ccmusic.errors import InsufficientStorage
from ccmusic.tagging.apply import apply_plan, undo
from ccmusic.tagging.journal import Journal

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(
    ["ccmusic.tagging.apply", *(f"mutagen.{kind}" for kind in ("asf", "dsf", "flac", "wave"))]
)
FULL = 28
"""The exit code of a process that found no space left."""


def run_until(
    step: str, what: str, plan: Path, journal: Path, *, largest_file: int = 0, seconds: float = 0.0
) -> int | None:
    """Run ``apply`` or ``undo`` in a process that is killed after a step; return its exit code, -9 if it was killed.

    With `largest_file`, no file may become larger there. With `seconds`, it is also killed after so long, in the middle
    of anything; the code is -14 then.
    """
    process = _FORKING.Process(target=_run, args=(step, what, plan, journal, largest_file, seconds))
    process.start()
    process.join()
    code = process.exitcode
    process.close()
    return code


def _run(step: str, what: str, plan: Path, journal: Path, largest_file: int, seconds: float) -> None:
    def on_step(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_REAL, seconds)  # nothing handles SIGALRM, so it ends the process as SIGKILL does
    try:
        with Journal(journal) as opened:
            work = apply_plan(plan, opened, on_step=on_step) if what == "apply" else undo(opened, on_step=on_step)
            for outcome in work:
                if outcome.reason:
                    print(outcome)
    except InsufficientStorage as error:
        print(error)
        os._exit(FULL)
