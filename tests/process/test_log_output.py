"""The buffer alone, and the real descriptors in a process of its own."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from ccmusic.process.log_output import DroppedLines, LogBuffer
from support.waiting import PATIENCE_SECONDS, wait_until

WRITES = """
import os, sys, threading
from ccmusic.process.log_output import DROPPED, buffered_output
lines = int(sys.argv[1])
with buffered_output() as real:
    for number in range(lines):
        os.write(2, b"line %6d of the log, which nobody has to read\\n" % number)
    os.system("echo a child >&2")
    os.write(real, b"done %d\\n" % DROPPED.total)
os.write(2, b"after\\n")
"""


def test_text_is_kept_in_order():
    buffer = LogBuffer(DroppedLines())
    buffer.put(b"a\n")
    buffer.put(b"b\n")
    assert buffer.take() == b"a\nb\n"
    buffer.close()
    assert buffer.take() is None


def test_lines_without_room_are_counted_and_the_gap_is_named():
    dropped = DroppedLines()
    buffer = LogBuffer(dropped, max_bytes=8)
    buffer.put(b"1234567\n")
    buffer.put(b"2\n3\n")
    assert (dropped.total, dropped.recently) == (2, True)
    assert buffer.take() == b"2 lines of the log are missing: its reader was too slow\n1234567\n"
    buffer.wrote(8)
    buffer.put(b"4\n")
    assert buffer.take() == b"4\n"


def test_nothing_lost_is_nothing_recent():
    assert not DroppedLines().recently


def test_all_that_is_written_arrives_in_order():
    code = [sys.executable, "-c", WRITES, "20000"]
    ended = subprocess.run(code, capture_output=True, check=True, timeout=PATIENCE_SECONDS)
    *lines, child, after = ended.stderr.splitlines()
    assert ended.stdout == b"done 0\n"
    assert [int(line.split()[1]) for line in lines] == list(range(20000))
    assert (child, after) == (b"a child", b"after")


def test_a_reader_that_takes_nothing_blocks_nobody():
    reading, writing = os.pipe()
    code = [sys.executable, "-c", WRITES.replace('"after\\n"', '""'), "100000"]
    process = subprocess.Popen(code, stdout=subprocess.PIPE, stderr=writing)
    os.close(writing)
    try:
        assert int(process.stdout.readline().split()[1]) > 0
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.communicate()
        os.close(reading)


def test_a_reader_that_has_ended_and_a_full_disk_lose_lines_only():
    reading, writing = os.pipe()
    os.close(reading)
    with Path("/dev/full").open("wb") as full:
        for end in (writing, full.fileno()):
            code = [sys.executable, "-c", WRITES.replace('os.write(2, b"after\\n")', ""), "100"]
            ended = subprocess.run(code, stdout=subprocess.PIPE, stderr=end, check=True, timeout=PATIENCE_SECONDS)
            assert ended.stdout.startswith(b"done ")
    os.close(writing)


def test_the_writer_is_waited_for_only_while_it_writes():
    buffer = LogBuffer(DroppedLines())
    written = []
    threading.Thread(target=lambda: [written.append(text) for text in iter(buffer.take, None)], daemon=True).start()
    buffer.put(b"a\n")
    assert buffer.wait_empty(30)
    wait_until(lambda: written == [b"a\n"], "it was written")
    buffer.close()
