from concurrent.futures import Future

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import Overloaded, TooManyRequests
from ccmusic.health.clock import CLOCK
from ccmusic.workers import job_queue, turns
from ccmusic.workers.channel import Job
from ccmusic.workers.job_queue import JobQueue, Ticket
from ccmusic.workers.wakeup import Wakeup
from support.fake_clock import FakeProcess


def ticket(name: bytes = b"x", age: float = 0.0, limit: float = 60.0) -> Ticket:
    now = CLOCK.now()
    return Ticket(Job(name, WindowPlan(), False), Future(), now - age, now - age + limit)


class StubSuspects(set):
    """The clients with these names are suspects, and may be made to pause."""

    def __init__(self, *names: str) -> None:
        super().__init__(names)
        self.seconds = 0.0

    def pause_seconds(self, client: str) -> float:
        return self.seconds if client in self else 0.0


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
    queue = JobQueue(10.0, StubSuspects("suspect"))
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
    queue = JobQueue(10.0, StubSuspects("suspect"))
    lost, another = of("suspect"), of("suspect")
    queue.put(lost)
    queue.put(another)
    assert queue.take(wakeup) is lost
    queue.put(lost, first=True)
    assert queue.take(wakeup) is lost


def test_the_jobs_of_a_suspect_client_do_not_make_the_queue_overdue():
    queue = JobQueue(10.0, StubSuspects("suspect"))
    late = of("suspect")
    late.accepted_at -= 11.0
    queue.put(late)
    assert not queue.overdue
    queue.expire()
    with pytest.raises(Overloaded, match="no worker was free"):
        late.future.result(0)
    assert not queue.overdue


def test_the_clients_take_turns(wakeup):
    queue = JobQueue(10.0)
    greedy, modest = [of("greedy") for _ in range(3)], of("modest")
    for each in (*greedy, modest):
        queue.put(each)
    taken = []
    for _ in range(4):
        taken.append(queue.take(wakeup))
        queue.end(taken[-1])
    assert taken == [greedy[0], modest, greedy[1], greedy[2]]


def test_the_number_of_clients_whose_turns_are_known_is_bounded(monkeypatch):
    monkeypatch.setattr(turns, "MAX_ENTRIES", 3)
    known = turns.Turns()
    for client in "1234":
        served = of(client)
        known.begin(served)
        known.end(served)
    assert [known.order(client) for client in "14"] == [(0, 0), (0, 4)]


def test_a_lost_job_that_waits_again_is_not_counted_as_running(wakeup):
    queue = JobQueue(10.0)
    lost, others = of("first"), [of("second") for _ in range(2)]
    for each in (lost, others[0]):
        queue.put(each)
        assert queue.take(wakeup) is each
    queue.end(others[0])
    lost.is_suspected = True
    queue.put(lost, first=True)
    queue.put(others[1])
    next_of_first = of("first")
    queue.put(next_of_first)
    assert queue.take(wakeup, may_be_lost=False) is next_of_first, "its client has waited longer for a turn"


def test_a_client_leaves_the_last_free_worker_to_others_that_were_here(wakeup):
    queue = JobQueue(10.0)
    other = Wakeup()
    modest, greedy = of("modest"), [of("greedy") for _ in range(2)]
    queue.put(modest)
    assert queue.take(wakeup) is modest
    queue.end(modest)
    assert queue.take(other) is None
    for each in greedy:
        queue.put(each)
    assert queue.take(wakeup) is greedy[0]
    assert queue.take(other) is None
    modest = of("modest")
    queue.put(modest)
    assert is_set(other)
    assert queue.take(other) is modest
    other.close()


def test_a_client_alone_uses_every_worker(wakeup):
    queue = JobQueue(10.0)
    alone = [of("alone") for _ in range(2)]
    for each in alone:
        queue.put(each)
    assert [queue.take(wakeup), queue.take(wakeup)] == alone


def test_the_client_with_the_most_waiting_makes_room_for_another():
    queue = JobQueue(10.0)
    greedy = [of("greedy") for _ in range(3)]
    for each in greedy:
        queue.put(each)
    assert queue.displace("greedy") is None
    assert queue.displace("modest") is greedy[2]
    assert queue.displace("modest") is greedy[1]
    assert queue.displace("modest") is None  # it would have as many
    assert queue.waiting()[0] == 1
    assert JobQueue(10.0).displace("modest") is None


def test_a_new_ticket_waits_for_as_many_of_each_other_client_as_its_own():
    queue = JobQueue(10.0, StubSuspects("suspect"))
    for client in ("greedy",) * 5 + ("modest", "suspect"):
        queue.put(of(client))
    assert [queue.n_before(client) for client in ("new", "modest", "greedy")] == [2, 3, 6]


def test_a_client_that_only_sent_more_than_its_share_does_not_make_the_queue_overdue(monkeypatch, wakeup):
    process = FakeProcess()
    for module in (job_queue, turns):
        monkeypatch.setattr(module, "CLOCK", process.clock)
    now = process.clock.now()
    queue = JobQueue(10.0)
    first, second = (Ticket(Job(b"x", WindowPlan(), False, client="a"), Future(), now, now + 60.0) for _ in "12")
    queue.put(first)
    queue.put(second)
    process.run(9.0)
    assert queue.take(wakeup) is first
    process.run(2.0)
    assert not queue.overdue
    queue.expire()
    assert isinstance(second.future.exception(0), Overloaded)
    assert not queue.overdue


def test_a_client_that_must_pause_has_no_ticket_in_the_queue(wakeup):
    suspects = StubSuspects("suspect")
    queue = JobQueue(10.0, suspects)
    risky, regular = of("suspect"), of("client")
    queue.put(risky)
    queue.put(regular)
    suspects.seconds = 5.0
    assert [queue.take(wakeup), queue.take(wakeup)] == [regular, None]
    queue.expire()
    with pytest.raises(TooManyRequests, match="after a pause"):
        risky.future.result(0)
