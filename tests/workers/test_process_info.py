import os
import signal
import subprocess

from ccmusic.workers.process_info import ProcessHandle, longest_delay, rss_bytes, run_delays


def test_what_the_system_knows_about_a_process():
    assert rss_bytes(os.getpid()) > 2**20
    assert rss_bytes(2**30) is None
    assert str(os.getpid()) in run_delays(os.getpid())
    assert run_delays(2**30) == {}


def test_the_thread_with_the_longest_delay_counts():
    before = {"1": 1.0, "2": 5.0}
    assert longest_delay(before, {"1": 1.5, "2": 5.1, "3": 9.0}) == 0.5  # the third thread is new
    assert longest_delay(before, {}) == 0.0


def test_a_signal_to_a_process_that_has_ended_does_nothing():
    process = subprocess.Popen(["sleep", "60"])
    handle = ProcessHandle(process.pid)
    handle.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    handle.send_signal(signal.SIGKILL)
    handle.close()
    handle.close()
