import pytest

from ccmusic.workers.heartbeat_age import HeartbeatAge
from support.fake_clock import FakeProcess


class Worker:
    """Beats, as the front process sees it. Both have the same system clock."""

    def __init__(self) -> None:
        self.front = FakeProcess()
        self.age = HeartbeatAge(self.front.clock.now)
        self.beat()

    def beat(self) -> None:
        self.beat_at = self.front.system

    @property
    def silent_seconds(self) -> float:
        return self.age.seconds(self)

    @property
    def age_seconds(self) -> float:
        return self.front.system - self.beat_at


@pytest.fixture
def worker():
    worker = Worker()
    worker.front.run(0.1)
    worker.beat()
    return worker


def test_a_worker_that_does_not_beat_is_silent(worker):
    assert worker.silent_seconds == 0.0
    worker.front.run(1.0)
    assert worker.silent_seconds == pytest.approx(1.0)
    worker.beat()
    worker.front.run(0.3)
    assert worker.silent_seconds == pytest.approx(0.3)


def test_a_pause_of_all_processes_is_no_silence(worker):
    assert worker.silent_seconds == 0.0
    worker.front.stop(60.0)
    assert worker.silent_seconds < 0.5
    worker.front.run(1.0)  # if it does not beat now either, it is stuck
    assert worker.silent_seconds > 1.0


def test_a_pause_of_the_front_process_alone_is_no_silence(worker):
    assert worker.silent_seconds == 0.0
    worker.front.stop(60.0)
    worker.beat()
    assert worker.silent_seconds == 0.0


def test_a_heartbeat_just_before_a_pause_is_as_old_as_the_time_that_the_front_process_ran(worker):
    assert worker.silent_seconds == 0.0
    worker.front.run(0.1)
    worker.beat()
    worker.front.stop(60.0)  # it was not read before
    assert worker.silent_seconds < 0.5


def test_before_the_first_heartbeat_the_silence_counts_from_the_start():
    worker = Worker()
    worker.front.run(2.0)
    assert worker.silent_seconds == pytest.approx(2.0)


def test_a_heartbeat_that_comes_while_the_age_is_read_makes_it_young():
    worker = Worker()

    class Late:
        """The thread that reads loses the processor while it reads the age."""

        @property
        def beat_at(self) -> float:
            return worker.beat_at

        @property
        def age_seconds(self) -> float:
            age = worker.age_seconds
            worker.front.run(5.0)
            worker.beat()
            return age

    assert worker.silent_seconds == 0.0
    worker.front.run(0.5)
    assert worker.age.seconds(Late()) == 0.0
    worker.front.run(0.4)
    assert worker.silent_seconds == pytest.approx(0.4)
