"""Signals at the start of a command, in a process of its own, also as process 1."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.waiting import PATIENCE_SECONDS

EARLY = (
    "import os, signal, sys; from ccmusic.process.signals import set_early_handlers\n"
    "set_early_handlers(serves=sys.argv[1] == 'serve'); print(os.getpid(), flush=True); sys.stdin.read()"
)


def started(command: str, *wrapper: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [*wrapper, sys.executable, "-c", EARLY, command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.own_id = int(process.stdout.readline())
    return process


def ended(process: subprocess.Popen) -> int:
    with process:  # which closes its pipes
        try:
            return process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()


def test_a_server_that_has_accepted_nothing_ends_with_0_at_sigterm():
    process = started("serve")
    process.terminate()
    assert ended(process) == 0


def test_another_command_ends_by_the_signal():
    process = started("classify")
    process.terminate()
    assert ended(process) == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_server_ignores_the_signals_of_log_rotation(number):
    process = started("serve")
    process.send_signal(number)
    process.stdin.close()  # it ends by itself now
    assert ended(process) == 0


@pytest.mark.parametrize(("command", "code"), [("serve", 0), ("classify", 128 + signal.SIGTERM)])
def test_process_1_ends_at_sigterm(command, code):
    wrapper = ("unshare", "--pid", "--fork", "--kill-child")
    if shutil.which("unshare") is None or subprocess.run([*wrapper, "true"], check=False).returncode:
        pytest.skip("this user cannot make a process 1")
    process = started(command, *wrapper)
    assert process.own_id == 1
    os.kill(int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()), signal.SIGTERM)
    assert ended(process) == code


def test_a_sigterm_that_was_blocked_before_the_start_is_not_lost():
    blocked = (
        "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); os.kill(os.getpid(), 15)\n"
    )
    code = blocked + "from ccmusic.process.signals import set_early_handlers; set_early_handlers(serves=True)"
    assert subprocess.run([sys.executable, "-c", f"{code}; os._exit(7)"], check=False).returncode == 0
