"""How a process ended whose fork server could not wait for it; the other ways are tested with the fork server."""

from __future__ import annotations

import os
import subprocess
import sys

from ccmusic.workers.forked_process import exit_code_of_zombie
from support.waiting import wait_until


def test_the_exit_code_of_a_process_that_nobody_has_waited_for():
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(7)"])
    wait_until(lambda: exit_code_of_zombie(process.pid) is not None, "it has ended")
    assert exit_code_of_zombie(process.pid) == 7
    process.wait()
    assert exit_code_of_zombie(process.pid) is None
    assert exit_code_of_zombie(os.getpid()) is None
