import errno
import mmap
import os
import signal
import subprocess

import pytest

from ccmusic.health.waits import ThreadTimes
from ccmusic.workers.process_info import (
    ProcessHandle,
    Silence,
    StoppedTime,
    lower_priority,
    own_bytes,
    rss_bytes,
)
from support.waiting import PATIENCE_SECONDS


def test_what_the_system_knows_about_a_process():
    assert rss_bytes(os.getpid()) > 2**20
    assert rss_bytes(2**30) is None


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


def silent(*rows: tuple[float, float, float], state: str = "S") -> list[float | None]:
    """What `Silence` says at each time, with this age of the heartbeat and this waited time of its thread."""
    silence = Silence()
    return [
        silence.seconds(now, age, 1.0, 1, lambda waited=waited: {"1": ThreadTimes(0.0, waited, state)})
        for now, age, waited in rows
    ]


def test_a_process_that_does_not_beat_although_it_could_is_silent():
    assert silent((0, 0.1, 5.0), (0.4, 0.5, 5.0), (1.0, 1.1, 5.0)) == [None, None, 1.1]


def test_a_process_that_waits_for_a_processor_is_not_silent():
    assert silent((0, 0.5, 5.0), (8.0, 8.5, 12.9)) == [None, None]
    assert silent((0, 0.5, 5.0), (8.0, 8.5, 5.0), state="R") == [None, None]
    assert silent((0, 0.5, 5.0), (8.0, 8.5, 6.0)) == [None, 7.5]


def test_the_waits_before_a_heartbeat_do_not_excuse_the_silence_after_it():
    assert silent((0, 0.5, 0.0), (9.0, 0.1, 8.0), (9.4, 0.5, 8.0), (10.5, 1.6, 8.0)) == [None, None, None, 1.6]


def test_time_in_which_nobody_looked_is_no_silence():
    """The one who looks had no processor either: what the threads waited before the first reading is unknown."""
    assert silent((0, 1.5, 5.0), (0.3, 1.8, 5.0), (0.9, 2.4, 5.0)) == [None, None, pytest.approx(1.5)]


def stopped(*states: str) -> float:
    time = StoppedTime()
    return [time.read(0.1 * i, {"1": ThreadTimes(0, 0, state)}) for i, state in enumerate(states)][-1]


def test_only_the_time_since_it_was_stopped_counts():
    assert stopped("T", "T", "T") == pytest.approx(0.2)
    assert stopped("T", "S", "T") == pytest.approx(0.1)
    assert stopped("T", "T", "R") == 0.0


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
