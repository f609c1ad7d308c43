"""Room for request bodies in memory and on disk."""

import pytest

from ccmusic.errors import Overloaded
from ccmusic.serving.admission import Admission, Admissions, Room
from ccmusic.settings import Settings

MIB = 2**20


@pytest.fixture
def admissions() -> Admissions:
    settings = Settings(max_bytes_in_memory=4 * MIB, max_bytes_on_disk=100 * MIB, max_client_share=0.5)
    return Admissions(settings, lambda: None)


def recording(admissions: Admissions, client: str = "a") -> Admission:
    return Admission(admissions, client, 2 * MIB)


def test_one_client_may_hold_a_share_only():
    room = Room(lambda: 100, 0.5)
    assert room.take("a", 50)
    assert not room.take("a", 1)
    assert room.take("b", 50)
    assert not room.take("c", 1)
    room.give_back("a", 50)
    assert room.take("c", 1)
    assert room.held == 51


def test_a_small_recording_is_held_in_memory_and_a_large_one_on_disk(admissions):
    small, large = recording(admissions), recording(admissions)
    small.admit(2 * MIB)
    large.admit(2 * MIB + 1)
    assert (small.on_disk, large.on_disk) == (False, True)
    assert (admissions.memory.held, admissions.disk.held) == (2 * MIB, 2 * MIB + 1)


def test_a_recording_that_grows_moves_to_the_disk(admissions):
    growing = recording(admissions)
    growing.admit(MIB)
    growing.admit(5 * MIB)
    assert growing.on_disk
    assert (admissions.memory.held, admissions.disk.held) == (0, 5 * MIB)
    growing.admit(6 * MIB)
    growing.admit(3 * MIB)  # it never shrinks
    assert admissions.disk.held == 6 * MIB


def test_small_recordings_go_to_the_disk_while_the_memory_is_full(admissions):
    held = [recording(admissions, client) for client in "aab"]
    for each in held:
        each.admit(2 * MIB)
    assert [each.on_disk for each in held] == [False, True, False]


def test_without_room_anywhere_a_body_is_refused_with_a_time(admissions):
    recording(admissions).admit(50 * MIB)
    with pytest.raises(Overloaded) as refusal:
        recording(admissions).admit(3 * MIB)
    assert refusal.value.retry_after_seconds > 0
    recording(admissions, "b").admit(3 * MIB)


def test_a_body_that_must_be_in_memory_never_goes_to_the_disk(admissions):
    with pytest.raises(Overloaded):
        Admission(admissions, "a").admit(3 * MIB)
    assert admissions.disk.held == 0


def test_everything_is_given_back(admissions):
    for sizes in ([MIB], [MIB, 5 * MIB], [5 * MIB], [MIB, 80 * MIB]):
        each = recording(admissions)
        try:
            for size in sizes:
                each.admit(size)
        except Overloaded:
            pass
        each.release()
        each.release()
        assert (admissions.memory.held, admissions.disk.held) == (0, 0)
    assert admissions.memory._by_client == admissions.disk._by_client == {}


def test_at_most_half_of_the_free_disk_is_used():
    admissions = Admissions(Settings(max_client_share=1.0), lambda: 20 * MIB)
    recording(admissions).admit(10 * MIB)
    with pytest.raises(Overloaded):
        recording(admissions).admit(10 * MIB)
