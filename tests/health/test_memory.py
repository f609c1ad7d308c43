import pytest

from ccmusic.health import memory, memory_check
from ccmusic.health.memory import UNWRITTEN_SECONDS, MemoryUse, WriteWatch
from support.fake_clock import FakeProcess

GIB = 2**30


@pytest.fixture(autouse=True)
def no_stall(monkeypatch):
    monkeypatch.setattr(memory, "memory_stall", lambda: None)


def observe_with(monkeypatch, use):
    monkeypatch.setattr(memory, "memory_use", lambda: use)
    return memory_check().observe()


def test_unknown_memory_passes(monkeypatch):
    assert observe_with(monkeypatch, None).status == "pass"


@pytest.mark.parametrize(("percent", "status"), [(89, "pass"), (90, "warn"), (96, "warn"), (97, "fail"), (120, "fail")])
def test_warning_and_failure_at_their_shares(monkeypatch, percent, status):
    observation = observe_with(monkeypatch, MemoryUse(percent * GIB, 100 * GIB, "cgroup"))
    assert (observation.status, observation.value, observation.unit) == (status, percent, "percent")
    if status != "pass":
        assert observation.cause == f"{percent} % of 100.00 GiB in use (cgroup)"
    assert memory_check().affects == {"health", "readyz"}


def test_it_only_warns_while_the_kernel_can_swap(monkeypatch):
    observation = observe_with(monkeypatch, MemoryUse(99 * GIB, 100 * GIB, "machine", swap_bytes=8 * GIB))
    assert (observation.status, observation.code) == ("warn", "nearly_full")
    assert observation.cause == "99 % of 100.00 GiB in use (machine); 8.00 GiB can go to swap"


def test_it_fails_when_the_swap_is_full_as_well(monkeypatch):
    assert observe_with(monkeypatch, MemoryUse(99 * GIB, 100 * GIB, "machine", swap_bytes=GIB)).status == "fail"


@pytest.mark.parametrize(("share", "status"), [(None, "pass"), (0.49, "pass"), (0.5, "warn"), (1.0, "warn")])
def test_it_warns_when_the_processes_wait_for_memory(monkeypatch, share, status):
    monkeypatch.setattr(memory, "memory_stall", lambda: share)
    observation = observe_with(monkeypatch, MemoryUse(50 * GIB, 100 * GIB, "cgroup"))
    assert (observation.status, observation.value) == (status, 50)
    if status == "warn":
        assert observation.code == "under_pressure"
        assert observation.cause.startswith(f"its processes waited for memory in {100 * share:.0f} % of the last 10 s")


def test_changed_pages_that_the_disk_does_not_take_are_in_use(monkeypatch):
    monkeypatch.setattr(
        memory, "memory_use", lambda: MemoryUse(50 * GIB, 100 * GIB, "cgroup", unwritten_bytes=48 * GIB)
    )
    monkeypatch.setattr(WriteWatch, "has_stopped", lambda *_: False)
    assert memory_check().observe().value == 50
    monkeypatch.setattr(WriteWatch, "has_stopped", lambda *_: True)
    assert (memory_check().observe().value, memory_check().observe().status) == (98, "fail")


def test_a_pause_of_the_whole_process_is_not_a_stopped_disk(monkeypatch):
    process = FakeProcess()
    monkeypatch.setattr(memory, "CLOCK", process.clock)
    monkeypatch.setattr(
        memory, "memory_use", lambda: MemoryUse(50 * GIB, 100 * GIB, "cgroup", unwritten_bytes=48 * GIB)
    )
    observe = memory_check().observe
    for _ in range(3):
        assert observe().status == "pass"
        process.stop(3600)
    process.run(UNWRITTEN_SECONDS)
    assert observe().status == "fail"


def watched(*bytes_unwritten):
    """What the watch says after each of these amounts, a second apart."""
    watch = WriteWatch()
    return [watch.has_stopped(n, 1000.0 + index) for index, n in enumerate(bytes_unwritten)]


SECONDS = int(UNWRITTEN_SECONDS)


def test_a_disk_that_takes_nothing_for_a_minute_has_stopped():
    assert watched(*[GIB] * SECONDS, GIB) == [False] * SECONDS + [True]


def test_growing_alone_is_no_sign_that_anything_is_written():
    assert watched(*range(1, SECONDS + 2))[-1]


def test_any_decrease_starts_the_minute_again():
    before = [GIB] * SECONDS
    assert not any(watched(*before, GIB - 1, *before[1:]))


def test_nothing_unwritten_never_stops():
    assert not any(watched(*[0] * 2 * SECONDS))


def test_it_begins_to_write_again():
    assert watched(*[GIB] * (SECONDS + 1), GIB - 1)[-2:] == [True, False]
