"""A process with a lifeline, in each state in which it cannot look at it itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ccmusic.workers.lifeline import has_ended

BUSY = "import ctypes; ctypes.PyDLL(None).sleep(600)"
"""Native code that keeps the interpreter's lock."""
ASLEEP = "import time; time.sleep(600)"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux sends the signal")


def start(program: str) -> tuple[subprocess.Popen[bytes], int]:
    lifeline, ours = os.pipe()
    program = f"from ccmusic.workers.lifeline import end_with; end_with({lifeline}); print(flush=True); {program}"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, pass_fds=(lifeline,))
    os.close(lifeline)
    return process, ours


@pytest.mark.parametrize("program", [BUSY, ASLEEP])
@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_process_ends_when_the_other_end_is_closed(program, is_stopped):
    process, ours = start(program)
    with process:
        process.stdout.readline()
        if is_stopped:
            process.send_signal(signal.SIGSTOP)
        os.close(ours)
        assert process.wait(60) == -signal.SIGKILL


def test_a_process_whose_lifeline_was_closed_before_ends_at_once():
    process, ours = start(ASLEEP)
    os.close(ours)
    with process:
        assert process.wait(60) in (1, -signal.SIGKILL)


def test_the_end_of_the_other_end_can_be_read():
    lifeline, ours = os.pipe()
    assert not has_ended(lifeline)
    os.close(ours)
    assert has_ended(lifeline)
    os.close(lifeline)
