from __future__ import annotations

from concurrent.futures import Future

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.health.clock import CLOCK
from ccmusic.workers import suspects
from ccmusic.workers.channel import Job
from ccmusic.workers.job_queue import Ticket
from ccmusic.workers.quarantine import Quarantine
from ccmusic.workers.suspects import ANSWERS_PER_LOSS, Culprits, KnownRecordings, SuspectClients
from support.fake_clock import FakeProcess


def test_a_client_is_a_suspect_after_some_different_recordings():
    clients = SuspectClients(2, 100.0)
    for _ in range(3):
        clients.note_loss("client", "a recording")
    assert "client" not in clients
    clients.note_loss("client", "another")
    assert "client" in clients
    assert "another client" not in clients
    assert len(clients) == 1


def test_a_client_with_many_answers_is_no_suspect():
    clients = SuspectClients(2, 100.0)
    for digest in ("a recording", "another"):
        clients.note_loss("proxy", digest)
    for _ in range(2 * ANSWERS_PER_LOSS - 1):
        clients.note_answer("proxy")
    assert "proxy" in clients
    clients.note_answer("proxy")
    assert "proxy" not in clients


def test_a_recording_that_is_not_the_cause_does_not_count():
    clients = SuspectClients(2, 100.0)
    for digest in ("a recording", "another"):
        clients.note_loss("client", digest)
    clients.clear("client", "another")
    clients.clear("client", "unknown")
    clients.clear("nobody", "unknown")
    assert "client" not in clients


def test_a_client_is_no_suspect_after_a_while():
    clients = SuspectClients(2, 0.0)
    for digest in ("a recording", "another"):
        clients.note_loss("client", digest)
    assert "client" not in clients


def test_the_numbers_of_clients_and_recordings_are_bounded(monkeypatch):
    monkeypatch.setattr(suspects, "MAX_ENTRIES", 3)
    clients, known = SuspectClients(1, 100.0), KnownRecordings()
    for name in "1234":
        clients.note_loss(name, "a recording")
        known.add(name)
    assert len(clients) == 3
    assert ["1" in clients, "4" in clients, "1" in known, "4" in known] == [False, True, False, True]


def test_the_recordings_of_one_client_are_bounded(monkeypatch):
    process = FakeProcess()
    monkeypatch.setattr(suspects, "CLOCK", process.clock)
    monkeypatch.setattr(suspects, "MAX_ENTRIES", 3)
    clients = SuspectClients(1, 100.0, pause_seconds=1.0)
    for number in range(6):
        clients.note_loss("client", f"recording {number}")
    assert clients.pause_seconds("client") == 2.0, "as after three of them"


def test_a_suspect_pauses_longer_after_each_further_recording(monkeypatch):
    process = FakeProcess()
    monkeypatch.setattr(suspects, "CLOCK", process.clock)
    clients = SuspectClients(2, 100.0, pause_seconds=5.0)
    pauses = []
    for number in range(8):
        clients.note_loss("client", f"recording {number}")
        pauses.append(clients.pause_seconds("client"))
    assert pauses == [0.0, 0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 100.0]
    process.run(60.0)
    assert clients.pause_seconds("client") == pytest.approx(40.0, abs=0.5)
    assert clients.pause_seconds("another") == 0.0
    process.run(50.0)
    assert clients.pause_seconds("client") == 0.0


def test_a_suspect_that_gets_answers_does_not_pause():
    clients = SuspectClients(1, 100.0, pause_seconds=5.0)
    for digest in ("a recording", "another"):
        clients.note_loss("client", digest)
    clients.note_answer("client")
    assert clients.pause_seconds("client") > 0
    clients.note_answer("client")
    assert clients.pause_seconds("client") == 0
    assert "client" in clients


@pytest.fixture
def culprits():
    return Culprits(Quarantine(100.0), SuspectClients(1, 100.0))


def ticket(source=b"RIFF") -> Ticket:
    now = CLOCK.now()
    return Ticket(Job(source, WindowPlan(), False, client="client"), Future(), now, now + 60.0)


def test_an_unknown_recording_may_be_the_cause(culprits):
    lost = ticket()
    assert culprits.note_loss(lost, "crashed")
    assert lost.is_suspected
    assert "client" in culprits.clients


def test_a_recording_that_was_answered_before_is_not_the_cause(culprits):
    culprits.note_answer(ticket())
    lost = ticket()
    assert not culprits.note_loss(lost, "crashed")
    assert not lost.is_suspected
    assert "client" not in culprits.clients
    assert culprits.note_loss(ticket(b"another"), "crashed")


def test_a_recording_that_a_worker_survives_is_not_the_cause(culprits):
    lost = ticket()
    culprits.note_loss(lost, "crashed")
    culprits.note_survival(lost)
    assert not lost.is_suspected
    assert "client" not in culprits.clients


def test_a_file_that_is_gone_is_no_error(culprits, tmp_path):
    gone = ticket(tmp_path / "gone")
    culprits.note_answer(gone)
    assert culprits.note_loss(gone, "crashed")


def test_a_recording_during_which_a_worker_was_killed_from_outside_is_no_suspect(culprits):
    lost = ticket()
    assert not culprits.note_loss(lost, "killed")
    assert lost.suspect_digest is not None  # a second loss is recognised
    assert not lost.is_suspected
    assert "client" not in culprits.clients
