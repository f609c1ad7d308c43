"""A process whose own end hangs."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """import threading
from ccmusic.serving.latest_end import LatestEnd
end = LatestEnd(0.2)
{begin}
threading.Thread(target=threading.Event().wait{arguments}).start()  # the process waits for it
"""


def run(begin: str, arguments: str = "") -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(begin=begin, arguments=arguments)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)


def test_a_process_whose_end_hangs_is_ended_with_its_stacks():
    ended = run("end.begin()")
    assert ended.returncode == 1
    assert "most recent call first" in ended.stderr


def test_a_process_that_was_not_told_to_end_lives_on():
    ended = run("", ", args=(1.0,)")
    assert (ended.returncode, ended.stderr) == (0, "")
