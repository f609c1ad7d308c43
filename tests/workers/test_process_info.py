import errno
import mmap
import os
import signal
import subprocess

import pytest

from ccmusic.workers.process_info import (
    ProcessHandle,
    longest_delay,
    lower_priority,
    own_bytes,
    rss_bytes,
    run_delays,
)
from support.waiting import PATIENCE_SECONDS


def test_what_the_system_knows_about_a_process():
    assert rss_bytes(os.getpid()) > 2**20
    assert rss_bytes(2**30) is None
    assert str(os.getpid()) in run_delays(os.getpid())
    assert run_delays(2**30) == {}


def test_pages_of_a_file_are_not_memory_of_a_process_s_own(tmp_path):
    size = 64 * 2**20
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    own, resident = own_bytes(os.getpid()), rss_bytes(os.getpid())
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 0  # each page is read
        assert rss_bytes(os.getpid()) - resident > size * 0.9
        assert own_bytes(os.getpid()) - own < size * 0.1
    assert own_bytes(2**30) is None


def test_memory_of_a_process_s_own():
    size = 64 * 2**20
    own = own_bytes(os.getpid())
    with mmap.mmap(-1, size) as mapped:  # shared memory, which no file holds
        mapped[:: mmap.PAGESIZE] = bytes([1]) * (size // mmap.PAGESIZE)
        assert own_bytes(os.getpid()) - own > size * 0.9


def test_the_thread_with_the_longest_delay_counts():
    before = {"1": 1.0, "2": 5.0}
    assert longest_delay(before, {"1": 1.5, "2": 5.1, "3": 9.0}) == 0.5  # the third thread is new
    assert longest_delay(before, {}) == 0.0


def test_a_signal_to_a_process_that_has_ended_does_nothing():
    process = subprocess.Popen(["sleep", "60"])
    handle = ProcessHandle(process.pid)
    handle.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    handle.send_signal(signal.SIGKILL)
    handle.close()
    handle.close()


def refuse(*_):
    raise PermissionError(errno.EPERM, "refused, as a seccomp profile does")


@pytest.mark.parametrize("call", ["os.pidfd_open", "signal.pidfd_send_signal"])
def test_a_signal_without_pidfd(monkeypatch, call):
    monkeypatch.setattr(call, refuse)
    process = subprocess.Popen(["sleep", "60"])
    handle = ProcessHandle(process.pid)
    handle.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    handle.send_signal(signal.SIGKILL)
    handle.close()


def test_without_pidfd_a_later_process_with_the_same_id_gets_no_signal(monkeypatch):
    monkeypatch.setattr("os.pidfd_open", refuse)
    sent = []
    monkeypatch.setattr("os.kill", lambda pid, number: sent.append((pid, number)))
    handle = ProcessHandle(os.getpid())
    handle.send_signal(signal.SIGTERM)
    monkeypatch.setattr("ccmusic.workers.process_info.started_at", lambda _: "another")
    handle.send_signal(signal.SIGKILL)
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_a_refused_priority_is_no_error(monkeypatch, caplog):
    monkeypatch.setattr("os.nice", refuse)
    lower_priority(5)
    assert "the priority of a process cannot be lowered" in caplog.text
