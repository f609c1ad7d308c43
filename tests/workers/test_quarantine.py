import pytest

from ccmusic.workers.quarantine import Quarantine, digest_of


def test_a_recording_is_refused_after_two_deaths():
    quarantine = Quarantine(100.0)
    digest = digest_of(b"poison")
    assert not quarantine.record_death(digest)
    assert not quarantine.blocks(b"poison")
    assert quarantine.record_death(digest)
    assert quarantine.blocks(b"poison")
    assert not quarantine.blocks(b"harmless")
    assert len(quarantine) == 1


def test_deaths_are_forgotten_when_a_worker_survives_the_recording():
    quarantine = Quarantine(100.0)
    digest = digest_of(b"harmless")
    quarantine.record_death(digest)
    quarantine.clear(digest)
    assert not quarantine.record_death(digest)


def test_a_recording_can_be_blocked_at_once():
    quarantine = Quarantine(100.0)
    quarantine.block(digest_of(b"poison"))
    assert quarantine.blocks(b"poison")


def test_a_recording_is_accepted_again_after_a_while():
    quarantine = Quarantine(0.0)
    digest = digest_of(b"poison")
    quarantine.record_death(digest)
    quarantine.record_death(digest)
    assert not quarantine.blocks(b"poison")
    assert len(quarantine) == 0


def test_the_number_of_entries_is_bounded(monkeypatch):
    monkeypatch.setattr("ccmusic.workers.quarantine.MAX_ENTRIES", 3)
    quarantine = Quarantine(100.0)
    for name in (b"1", b"2", b"3", b"4"):
        quarantine.record_death(digest_of(name))
        quarantine.record_death(digest_of(name))
    assert len(quarantine) == 3
    assert not quarantine.blocks(b"1")
    assert quarantine.blocks(b"4")


def test_a_file_and_its_bytes_have_the_same_digest(tmp_path):
    (tmp_path / "song").write_bytes(b"poison")
    assert digest_of(tmp_path / "song") == digest_of(b"poison")
    with pytest.raises(FileNotFoundError):
        digest_of(tmp_path / "none")
