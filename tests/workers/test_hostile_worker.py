"""A worker that a recording has taken over, against a real supervisor: it is replaced, and the front process lives."""

from __future__ import annotations

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import InferenceTimeout, Quarantined
from ccmusic.genres import LABELS
from ccmusic.workers import supervisor as supervisor_module
from ccmusic.workers.channel import Job
from ccmusic.workers.fork_server import PRELOADED, ForkServer
from ccmusic.workers.supervisor import Supervisor
from support.hostile_worker import ORDER
from support.recordings import bin_frequency, tone, wav
from support.waiting import PATIENCE_SECONDS, wait_until

SHORT = Job(wav(tone(bin_frequency(37), 1.0)), WindowPlan(), False)


@pytest.fixture
def supervisor(make_settings, monkeypatch):
    server = ForkServer(start_seconds=PATIENCE_SECONDS, modules=[*PRELOADED, "support.hostile_worker"])
    monkeypatch.setattr(supervisor_module, "shared_fork_server", lambda settings: server)
    supervisor = Supervisor(make_settings(workers=1, self_test_seconds=600.0, job_timeout_seconds=5.0))
    supervisor.start()
    yield supervisor
    supervisor.stop()
    server.stop()


@pytest.fixture
def attack(supervisor, tmp_path):
    """Lets a worker answer a job with an attack, waits for its successor; returns the error of the job."""

    def begin(name: str) -> BaseException | None:
        wait_until(lambda: supervisor.state().n_ready == 1, "a worker is ready")
        job = Job(ORDER + f"{name}|{tmp_path / 'made'}".encode(), WindowPlan(), False)
        error = supervisor.submit(job).exception(PATIENCE_SECONDS)
        wait_until(lambda: supervisor.state().n_ready == 1, "its successor is ready")
        return error

    return begin


@pytest.mark.parametrize(
    "name", ["pickle", "pickle in a message", "garbage", "a huge length", "another message", "nesting"]
)
def test_a_malformed_message_ends_its_worker_and_nothing_else(supervisor, attack, tmp_path, name):
    assert isinstance(attack(name), Quarantined)  # it ended two workers
    assert supervisor.state().restart_counts["malformed"] == 2
    assert "malformed" in supervisor.state().restarts[-1].cause
    assert not (tmp_path / "made").exists()
    answer = supervisor.submit(SHORT).result(PATIENCE_SECONDS)
    assert answer.predictions()[0].genre == LABELS[7]


def test_a_message_that_does_not_end_passes_the_deadline(supervisor, attack):
    assert isinstance(attack("an endless message"), InferenceTimeout)
    assert supervisor.state().restart_counts["deadline"] == 1
    assert supervisor.submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]
