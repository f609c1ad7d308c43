"""Limits that are too low at the start. Each is really set, in a process of its own."""

import os
import shutil
import subprocess
import sys

import pytest

from support.waiting import PATIENCE_SECONDS

REQUIRE = """
import resource, sys
from ccmusic.process.start_limits import LimitTooLow, require_limits, require_threads
try:
    {call}
except LimitTooLow as error:
    sys.exit(str(error))
"""


def ended(wrapper: tuple[str, ...], call: str) -> str:
    command = [*wrapper, sys.executable, "-c", REQUIRE.format(call=call)]
    return subprocess.run(
        command, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE_SECONDS
    ).stderr.strip()


@pytest.mark.parametrize(
    ("limit", "need", "text"),
    [
        ("ulimit -n 40", "descriptors=41", "the server needs 41 descriptors, the limit is 40: raise ulimit -n"),
        ("ulimit -n 40", "descriptors=40", ""),
        ("ulimit -f 0", "file_kilobytes=1", "the server needs 1 kilobytes in a file, the limit is 0: raise ulimit -f"),
        (
            "ulimit -v 300000",
            "memory_kilobytes=300001",
            "the server needs 300001 kilobytes of address space, the limit is 300000: raise ulimit -v",
        ),
    ],
)
def test_a_limit_is_compared_with_the_need(limit, need, text):
    assert ended(("sh", "-c", f'{limit}; exec "$@"', "-"), f"require_limits({need})") == text


def test_no_limit_is_enough():
    assert (
        ended((), f"resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); require_limits(memory_kilobytes={2**40})") == ""
    )


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs another user")
def test_threads_are_tried_as_a_user_whom_the_limit_of_processes_holds():
    reading = "--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"  # to reach this Python
    wrapper = ("setpriv", "--reuid=54321", "--regid=0", "--clear-groups", *reading, "prlimit", "--nproc=4")
    text = ended(wrapper, "require_threads(8)")
    assert text.startswith("the server needs 8 threads, 3 could be started: no thread can be started: ")
    assert "ulimit -u is 4" in text
    assert ended(wrapper, "require_threads(3)") == ""
