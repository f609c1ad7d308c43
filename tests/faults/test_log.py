"""The log: a pipe that is full because its reader takes nothing, and the signals of log rotation."""

from __future__ import annotations

import array
import fcntl
import os
import select
import signal
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults.drill import prove
from faults.look import replaced
from faults.processes import descendants, has_ended
from faults.service import Service
from faults.traffic import LONG, SHORT, Traffic, differs, probabilities
from support.waiting import wait_until

LONG_PATH = f"/livez?{'x' * 8000}"
"""At the level debug, each request for it is a long line of the log."""


def waiting_bytes(pipe: int) -> int:
    """How many bytes a pipe holds."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def is_full(pipe: int) -> bool:
    """Whether a pipe takes nothing more. It is full before it holds 64 KiB: a short rest of a write fills a page."""
    writing = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        return not select.select([], [writing], [], 0)[1]
    finally:
        os.close(writing)


@contextmanager
def requests_without_end(service: Service) -> Iterator[None]:
    """A client that sends requests about which much is logged."""
    stop = threading.Event()

    def send() -> None:
        client = service.client()
        while not stop.is_set():
            client.get(LONG_PATH)
        client.close()

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    try:
        yield
    finally:
        stop.set()
        sending.join()


@pytest.mark.fault("O5")
def test_a_log_whose_reader_takes_nothing_delays_no_recording(row, tmp_path: Path):
    service = Service(tmp_path, stderr=subprocess.STDOUT, log_level="debug")
    pipe = service.process.stdout.fileno()
    try:
        service.wait_green()
        with Traffic(service) as traffic:
            for once in row.repeats(service, traffic):
                before = service.look()
                signs = replaced(before, "killed")
                lost = before.metric("ccmusic_log_dropped_lines_total")
                once.begin()
                with requests_without_end(service):
                    once.detected_when(
                        lambda now, lost=lost: now.metric("ccmusic_log_dropped_lines_total") > lost,
                        lambda now: now.reports("log", "warn", "lines of the log were lost"),
                    )
                prove(lambda: is_full(pipe), "the pipe is full")
                # its replacement writes to the log too
                os.kill(service.worker("idle", "busy", "testing"), signal.SIGKILL)
                wait_until(lambda s=signs: all(sign(service.look()) for sign in s), "the worker is replaced")
                once.recovered_when()
                once.within = True
            assert not traffic.counts()[2], "no request was refused or failed"
        _wait_for_the_gap(service, pipe)
    finally:
        service.stop()
    row.remark(
        "detected = the buffer of 1 MiB is full as well as the pipe, so the time depends on how much is logged; a "
        "worker is killed meanwhile; recovered = it is replaced, with the pipe still full"
    )


def _wait_for_the_gap(service: Service, pipe: int) -> None:
    """Read the log again: it goes on, and names how much is missing."""
    text = b""

    def read() -> bool:
        nonlocal text
        service.look().health  # noqa: B018  something more to log
        while waiting_bytes(pipe):
            text += os.read(pipe, 65536)
        return b"lines of the log are missing: its reader was too slow" in text

    wait_until(read, "the gap is named")


@pytest.mark.fault("O6")
def test_the_signals_of_log_rotation_end_nothing(row, start):
    with start(workers=2) as service, Traffic(service) as traffic:
        reference = probabilities(service.classify(LONG, windows=100))
        for once in row.repeats(service, traffic):
            processes = descendants(service.pid)
            answers = [service.classify_later(LONG, windows=100) for _ in range(3)]
            wait_until(lambda: service.look().body["queue"]["running"] > 0, "a recording is being classified")
            once.begin()
            for pid in [service.pid, *processes]:
                os.kill(pid, signal.SIGHUP)
            os.kill(service.pid, signal.SIGUSR1)
            once.detected_now()
            for answer in answers:
                found = answer.result()
                assert found.status == 200, found.text
                once.judge(found, reference)
            once.recovered_when()
            assert not any(map(has_ended, [service.pid, *processes])), "every process lives"
            assert not differs(service.classify(SHORT), traffic.reference)
            once.within = True
        assert not traffic.counts()[2]
    row.remark("SIGHUP to each process of the service, SIGUSR1 to the front process; three recordings meanwhile")
