"""`ccmusic serve` as a process, in places where something is missing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ccmusic.commands.exit_codes import ExitCode
from ccmusic.health import listen
from support.ports import free_port
from support.running_server import running_server
from support.waiting import PATIENCE_SECONDS, wait_until

SERVE = (sys.executable, "-m", "ccmusic.cli", "serve", "--no-page", "--host", "127.0.0.1", "--port", "0")


@pytest.fixture(autouse=True)
def small_model(model_directory, monkeypatch):
    monkeypatch.setenv("CCMUSIC_MODEL", str(model_directory))
    monkeypatch.setenv("CCMUSIC_WORKERS", "1")


def ended(command=SERVE, **streams) -> tuple[int, str]:
    process = subprocess.run(
        command,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        stdin=subprocess.DEVNULL,
        **streams,
    )
    return process.returncode, process.stderr


def test_full_output_has_its_own_exit_code():
    with Path("/dev/full").open("wb") as full:
        code, text = ended(stdout=full)
    assert code == ExitCode.OUTPUT_FULL
    assert text.startswith("ccmusic: standard output cannot be written: No space left on device; make room")


def test_output_without_a_reader_has_its_own_exit_code():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        code, text = ended(stdout=writing)
    finally:
        os.close(writing)
    assert code == ExitCode.OUTPUT_CLOSED
    assert text.startswith("ccmusic: standard output is closed: the program that reads it has ended; send the output")


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("no.such.host.invalid", "0", "the name has no address here"),
        ("192.0.2.1", "0", "this machine does not have the address"),
        ("[192.0.2.1]", "0", "cannot listen on 192.0.2.1:0"),
    ],
)
def test_an_address_that_cannot_be_used(host, port, words):
    code, text = ended((*SERVE[:-4], "--host", host, "--port", port), stdout=subprocess.DEVNULL)
    assert (code, text.count("\n")) == (ExitCode.ADDRESS, 1)
    assert words in text


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("ulimit -n 16", "descriptors, the limit is 16: raise ulimit -n"),
        ("ulimit -n 32", "descriptors, the limit is 32: raise ulimit -n"),
        ("ulimit -f 0", "kilobytes in a file, the limit is 0: raise ulimit -f"),
        ("ulimit -v 200000", "kilobytes of address space, the limit is 200000: raise ulimit -v"),
    ],
)
def test_a_limit_that_is_too_low_is_refused_at_once(limit, words):
    code, text = ended(["sh", "-c", f'{limit}; exec "$@"', "-", *SERVE], stdout=subprocess.DEVNULL)
    assert (code, text.count("\n")) == (ExitCode.REFUSED, 1), text
    assert words in text


@contextmanager
def started(command, url: str):
    process = subprocess.Popen(command)
    try:

        def healthy() -> bool:
            assert process.poll() is None, process.returncode
            try:
                return httpx.get(f"{url}/health", timeout=10).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(healthy, "/health is 200")
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def test_it_serves_with_all_three_streams_closed():
    port = free_port()
    serve = [*SERVE[:-1], str(port)]
    with started(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "-", *serve], f"http://127.0.0.1:{port}") as process:
        targets = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()).partition(":")[0] for number in range(3)]
        assert targets == ["/dev/null", "pipe", "pipe"], "our own pipe, and no socket"


def test_an_ipv6_address_is_printed_with_brackets():
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        listen("::1", 0).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    process = subprocess.Popen([*SERVE[:-4], "--host", "[::1]", "--port", "0"], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            url = process.stdout.readline().split()[-1]
            assert url.startswith("http://[::1]:")
            assert httpx.get(f"{url}livez", timeout=60).status_code == 200
        finally:
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0


def test_a_read_only_root_without_a_place_for_temporary_files():
    mounts = (
        "for d in /tmp /var/tmp; do mount --bind $d $d && mount -o remount,bind,ro $d; done; mount -o remount,bind,ro /"
    )
    alone = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
    if shutil.which("unshare") is None or subprocess.run([*alone, mounts], capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a root that is read-only")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    serve = [*alone, f'{mounts}; cd /; unset TMPDIR; exec "$@"', "-", *SERVE[:-1], str(port)]
    with started(serve, url):
        checks = httpx.get(f"{url}/health", timeout=30).json()["checks"]
        assert checks["disk"]["status"] == "pass", "another directory is in use"


def test_a_connection_is_kept_for_the_time_of_the_setting():
    with running_server("--no-page", CCMUSIC_KEEP_ALIVE_SECONDS="1") as server:
        url = httpx.URL(server.url)
        with socket.create_connection((url.host, url.port), timeout=60) as client:
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            received = client.recv(65536)
            assert received.startswith(b"HTTP/1.1 200")
            while received:  # until the server closes it
                received = client.recv(65536)
