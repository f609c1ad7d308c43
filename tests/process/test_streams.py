"""Standard streams that are closed, full or without a reader, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.waiting import PATIENCE_SECONDS

ANNOUNCE = (
    "import sys; from ccmusic.process.streams import announce, open_standard_streams; open_standard_streams()\n"
    "try: announce('the address')\n"
    "except Exception as error: print(type(error).__name__, error, file=sys.stderr)"
)


def announced(**streams) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-c", ANNOUNCE],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        **streams,
    )
    return ended.returncode, ended.stderr.strip()


def test_a_full_device():
    with Path("/dev/full").open("wb") as full:
        assert announced(stdout=full) == (
            0,
            "OutputFull standard output cannot be written: No space left on device",
        )


def test_a_reader_that_has_ended():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert announced(stdout=writing) == (
            0,
            "OutputClosed standard output is closed: the program that reads it has ended",
        )
    finally:
        os.close(writing)


def test_a_reader_that_takes_nothing_does_not_prevent_the_start():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    try:
        assert announced(stdout=writing) == (0, "standard output takes nothing; the address")
    finally:
        os.close(reading)
        os.close(writing)


def test_no_socket_gets_the_number_of_a_closed_stream():
    program = (
        "import os, socket, sys; from ccmusic.process.streams import open_standard_streams; open_standard_streams()\n"
        "with socket.socket() as new: assert new.fileno() > 2, new.fileno()\n"
        "print('unseen', flush=True); print('unseen', file=sys.stderr, flush=True); assert sys.stdin.read() == ''\n"
        "os._exit(7)"
    )
    command = f'exec {sys.executable} -c "$PROGRAM" <&- >&- 2>&-'
    ended = subprocess.run(
        ["sh", "-c", command], env=os.environ | {"PROGRAM": program}, check=False, timeout=PATIENCE_SECONDS
    )
    assert ended.returncode == 7


def test_chinese_text_in_an_ascii_locale():
    code = "from ccmusic.process.streams import open_standard_streams as o; o(); print('\\u6447\\u6eda')"
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, timeout=PATIENCE_SECONDS
    )
    assert ended.stdout == rb"\u6447\u6eda" + b"\n"
