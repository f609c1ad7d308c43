"""Whole messages over a real socket, in pieces, within bounds."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.workers.answer_check import MalformedMessage
from ccmusic.workers.channel import ORDERS, Job, SelfTested
from ccmusic.workers.message_stream import HEAD, MAX_RAW_BYTES, MAX_TEXT_BYTES, stream_pair


@pytest.fixture
def ends():
    front, worker = stream_pair()
    yield front, worker
    front.close()
    worker.close()


def test_a_recording_that_is_larger_than_the_buffers_arrives(ends):
    front, worker = ends
    job = Job(os.urandom(2**23), WindowPlan(), False)
    thread = threading.Thread(target=front.send, args=(job, 60.0))
    thread.start()
    assert worker.receive(ORDERS) == job
    thread.join()


def test_a_message_in_pieces_is_received_after_a_timeout(ends):
    front, worker = ends
    text = b'["SelfTested",[0.5,null]]'
    data = HEAD.pack(len(text), 0) + text
    for piece in (data[:5], data[5 : HEAD.size + 4], data[HEAD.size + 4 : -1]):
        os.write(worker.fileno(), piece)
        with pytest.raises(TimeoutError):
            front.receive((SelfTested,), 0.0)
    os.write(worker.fileno(), data[-1:])
    worker.send(SelfTested(0.25))
    assert front.receive((SelfTested,), 60.0) == SelfTested(0.5)
    assert front.receive((SelfTested,), 60.0) == SelfTested(0.25)


@pytest.mark.parametrize("sizes", [(MAX_TEXT_BYTES + 1, 0), (2, MAX_RAW_BYTES + 1), (2**63, 2**63)])
def test_a_size_beyond_the_bounds_is_refused_before_its_bytes_come(ends, sizes):
    front, worker = ends
    os.write(worker.fileno(), HEAD.pack(*sizes))
    with pytest.raises(MalformedMessage, match="announces"):
        front.receive((SelfTested,), 60.0)


def test_the_end_of_the_other_process_is_the_end_of_the_messages(ends):
    front, worker = ends
    os.write(worker.fileno(), HEAD.pack(100, 0) + b"half")
    worker.close()
    with pytest.raises(EOFError):
        front.receive((SelfTested,), 60.0)
    with pytest.raises(OSError), suppress(TimeoutError):
        front.send(SelfTested(0.1), 60.0)
