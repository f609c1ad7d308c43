import time
from concurrent.futures import Future

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import Overloaded
from ccmusic.workers.channel import Job
from ccmusic.workers.job_queue import JobQueue, Ticket, Wakeup


def ticket(name: bytes = b"x", age: float = 0.0, patience: float = 60.0) -> Ticket:
    now = time.monotonic()
    return Ticket(Job(name, WindowPlan(), False), Future(), now - age, now - age + patience)


@pytest.fixture
def bell():
    bell = Wakeup()
    yield bell
    bell.close()


def rung(bell: Wakeup) -> bool:
    from multiprocessing.connection import wait

    return bool(wait([bell.descriptor], 0))


def test_first_come_first_served_except_for_a_job_that_was_lost(bell):
    queue = JobQueue(10.0)
    first, second, lost = ticket(), ticket(), ticket()
    for each in (first, second):
        queue.put(each)
    queue.put(lost, first=True)
    assert queue.n_waiting == 3
    assert [queue.take(bell), queue.take(bell), queue.take(bell)] == [lost, first, second]
    assert queue.take(bell) is None


def test_a_keeper_with_nothing_to_do_is_woken_once(bell):
    queue = JobQueue(10.0)
    assert queue.take(bell) is None
    assert not rung(bell)
    queue.put(ticket())
    assert rung(bell)
    bell.quiet()
    assert not rung(bell)
    queue.put(ticket())  # it has not asked again
    assert not rung(bell)


def test_a_ring_that_its_keeper_cannot_follow_goes_to_another(bell):
    queue = JobQueue(10.0)
    other = Wakeup()
    assert queue.take(other) is None
    assert queue.take(bell) is None
    queue.put(ticket())
    assert rung(bell)
    queue.leave(bell)
    assert rung(other)
    other.close()


def test_callers_who_have_left_are_passed_over(bell):
    queue = JobQueue(10.0)
    gone, here = ticket(), ticket()
    queue.put(gone)
    queue.put(here)
    assert gone.future.cancel()
    assert queue.take(bell) is here


def test_callers_who_have_left_free_their_place():
    queue = JobQueue(10.0)
    gone = ticket()
    queue.put(gone)
    gone.future.cancel()
    queue.expire()
    assert queue.n_waiting == 0


@pytest.mark.parametrize("late", [ticket(age=11.0), ticket(age=2.0, patience=1.0)])
def test_who_has_waited_too_long_is_told(late):
    queue = JobQueue(10.0)
    young = ticket(age=1.0)
    queue.put(late)
    queue.put(young)
    assert queue.oldest_wait_seconds >= 1.0
    queue.expire()
    with pytest.raises(Overloaded, match="no worker was free"):
        late.future.result(0)
    assert queue.n_waiting == 1
    assert 1.0 <= queue.oldest_wait_seconds < 10.0
    assert time.monotonic() - queue.dropped_at < 10.0
