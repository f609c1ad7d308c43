from concurrent.futures import Future

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import Overloaded
from ccmusic.health.clock import CLOCK
from ccmusic.workers import job_queue
from ccmusic.workers.channel import Job
from ccmusic.workers.job_queue import JobQueue, Ticket
from ccmusic.workers.wakeup import Wakeup
from support.fake_clock import FakeProcess


def ticket(name: bytes = b"x", age: float = 0.0, limit: float = 60.0) -> Ticket:
    now = CLOCK.now()
    return Ticket(Job(name, WindowPlan(), False), Future(), now - age, now - age + limit)


@pytest.fixture
def wakeup():
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


def is_set(wakeup: Wakeup) -> bool:
    from multiprocessing.connection import wait

    return bool(wait([wakeup.descriptor], 0))


def test_jobs_are_taken_in_order_but_a_lost_job_comes_first(wakeup):
    queue = JobQueue(10.0)
    first, second, lost = ticket(), ticket(), ticket()
    for each in (first, second):
        queue.put(each)
    queue.put(lost, first=True)
    assert queue.waiting()[0] == 3
    assert [queue.take(wakeup), queue.take(wakeup), queue.take(wakeup)] == [lost, first, second]
    assert queue.take(wakeup) is None


def test_an_idle_slot_is_woken_once(wakeup):
    queue = JobQueue(10.0)
    assert queue.take(wakeup) is None
    assert not is_set(wakeup)
    queue.put(ticket())
    assert is_set(wakeup)
    wakeup.clear()
    assert not is_set(wakeup)
    queue.put(ticket())  # the slot has not waited again
    assert not is_set(wakeup)


def test_a_slot_that_leaves_passes_its_wakeup_to_another(wakeup):
    queue = JobQueue(10.0)
    other = Wakeup()
    assert queue.take(other) is None
    assert queue.take(wakeup) is None
    queue.put(ticket())
    assert is_set(wakeup)
    queue.leave(wakeup)
    assert is_set(other)
    other.close()


def test_cancelled_jobs_are_skipped(wakeup):
    queue = JobQueue(10.0)
    cancelled, waiting = ticket(), ticket()
    queue.put(cancelled)
    queue.put(waiting)
    assert cancelled.future.cancel()
    assert queue.take(wakeup) is waiting


def test_cancelled_jobs_are_removed():
    queue = JobQueue(10.0)
    cancelled = ticket()
    queue.put(cancelled)
    cancelled.future.cancel()
    queue.expire()
    assert queue.waiting()[0] == 0


def test_a_job_does_not_grow_old_while_the_process_is_stopped(monkeypatch):
    process = FakeProcess()
    monkeypatch.setattr(job_queue, "CLOCK", process.clock)
    queue = JobQueue(10.0)
    now = process.clock.now()
    waiting = Ticket(Job(b"x", WindowPlan(), False), Future(), now, now + 60.0)
    queue.put(waiting)
    process.stop(600.0)
    queue.expire()
    assert not waiting.future.done()
    assert queue.waiting() == (1, pytest.approx(0.25, abs=0.1))
    assert not queue.overdue
    process.run(10.0)
    queue.expire()
    assert isinstance(waiting.future.exception(0), Overloaded)


@pytest.mark.parametrize("late", [ticket(age=11.0), ticket(age=2.0, limit=1.0)])
def test_a_job_that_has_waited_too_long_is_refused(late):
    queue = JobQueue(10.0)
    young = ticket(age=1.0)
    queue.put(late)
    queue.put(young)
    assert queue.waiting()[1] >= 1.0
    queue.expire()
    with pytest.raises(Overloaded, match="no worker was free"):
        late.future.result(0)
    assert queue.waiting()[0] == 1
    assert 1.0 <= queue.waiting()[1] < 10.0
    assert queue.overdue


def of(client: str) -> Ticket:
    now = CLOCK.now()
    return Ticket(Job(b"x", WindowPlan(), False, client=client), Future(), now, now + 60.0)


def test_the_jobs_of_a_suspect_client_come_last_and_one_at_a_time(wakeup):
    queue = JobQueue(10.0, {"suspect"})
    risky, another, regular = of("suspect"), of("suspect"), of("client")
    for each in (risky, another, regular):
        queue.put(each)
    assert queue.by_suspects() == 2
    assert [queue.take(wakeup), queue.take(wakeup), queue.take(wakeup)] == [regular, risky, None]
    assert not is_set(wakeup)
    queue.end(regular)
    assert not is_set(wakeup)
    queue.end(risky)
    assert is_set(wakeup)
    assert queue.take(wakeup) is another


def test_a_job_that_has_ended_a_worker_waits_until_another_worker_can_answer(wakeup):
    queue = JobQueue(10.0)
    risky, regular = ticket(), ticket()
    queue.put(regular)
    queue.put(risky)
    assert queue.take(wakeup) is regular
    assert queue.take(wakeup) is risky
    risky.is_suspected = True
    queue.put(risky, first=True)
    queue.put(of("client"))
    assert queue.take(wakeup, may_be_lost=False) is not risky
    assert queue.take(wakeup, may_be_lost=False) is None
    assert queue.take(wakeup) is risky


def test_a_lost_job_that_waits_again_lets_others_of_its_kind_run(wakeup):
    queue = JobQueue(10.0, {"suspect"})
    lost, another = of("suspect"), of("suspect")
    queue.put(lost)
    queue.put(another)
    assert queue.take(wakeup) is lost
    queue.put(lost, first=True)
    assert queue.take(wakeup) is lost


def test_the_jobs_of_a_suspect_client_do_not_make_the_queue_overdue():
    queue = JobQueue(10.0, {"suspect"})
    late = of("suspect")
    late.accepted_at -= 11.0
    queue.put(late)
    assert not queue.overdue
    queue.expire()
    with pytest.raises(Overloaded, match="no worker was free"):
        late.future.result(0)
    assert not queue.overdue
