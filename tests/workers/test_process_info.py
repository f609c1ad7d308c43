import mmap
import os
import signal
import subprocess

from ccmusic.workers.process_info import ProcessHandle, longest_delay, own_bytes, rss_bytes, run_delays


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
    assert process.wait(30) == -signal.SIGKILL
    handle.send_signal(signal.SIGKILL)
    handle.close()
    handle.close()
