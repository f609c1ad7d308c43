import pytest

from ccmusic.workers.quarantine import Quarantine, digest_of


def test_two_deaths_are_one_too_many():
    quarantine = Quarantine(100.0)
    digest = digest_of(b"poison")
    assert not quarantine.blame(digest)
    assert not quarantine.holds(b"poison")
    assert quarantine.blame(digest)
    assert quarantine.holds(b"poison")
    assert not quarantine.holds(b"harmless")
    assert len(quarantine) == 1


def test_a_recording_that_was_survived_is_innocent():
    quarantine = Quarantine(100.0)
    digest = digest_of(b"bystander")
    quarantine.blame(digest)
    quarantine.absolve(digest)
    assert not quarantine.blame(digest)


def test_it_can_be_certain_at_once():
    quarantine = Quarantine(100.0)
    quarantine.hold(digest_of(b"poison"))
    assert quarantine.holds(b"poison")


def test_it_ends():
    quarantine = Quarantine(0.0)
    digest = digest_of(b"poison")
    quarantine.blame(digest)
    quarantine.blame(digest)
    assert not quarantine.holds(b"poison")
    assert len(quarantine) == 0


def test_its_memory_is_bounded(monkeypatch):
    monkeypatch.setattr("ccmusic.workers.quarantine.MAX_ENTRIES", 3)
    quarantine = Quarantine(100.0)
    for name in (b"1", b"2", b"3", b"4"):
        quarantine.blame(digest_of(name))
        quarantine.blame(digest_of(name))
    assert len(quarantine) == 3
    assert not quarantine.holds(b"1")
    assert quarantine.holds(b"4")


def test_a_file_and_its_bytes_are_the_same_recording(tmp_path):
    (tmp_path / "song").write_bytes(b"poison")
    assert digest_of(tmp_path / "song") == digest_of(b"poison")
    with pytest.raises(FileNotFoundError):
        digest_of(tmp_path / "none")
