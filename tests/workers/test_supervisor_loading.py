"""Models that cannot be loaded, or that change while workers load."""

import os
import signal

import pytest

from ccmusic.errors import ModelNotReady
from ccmusic.genres import LABELS
from ccmusic.workers.pool import Pool
from ccmusic.workers.roster import Roster
from support.bands_model import band_network, write_model
from support.supervised import SHORT, ready
from support.waiting import PATIENCE_SECONDS, wait_until


def test_a_crash_loop_is_reported_and_ends_with_its_cause(start):
    supervisor = start(fault_injection=True, faults="exit-at-start")
    wait_until(lambda: supervisor.state().restart_counts["load"] >= 3, "three starts have failed")
    assert supervisor.state().model_status == "error"
    assert "ended while loading: ended with exit code 3" in supervisor.state().load_error
    supervisor.clear_faults()
    assert ready(supervisor).state().model_status == "ready"


@pytest.mark.parametrize("skew", ["skew-resampler", "skew-hop", "skew-db"])
def test_a_skewed_pipeline_is_not_ready(start, skew):
    supervisor = start(fault_injection=True, faults=skew)
    wait_until(lambda: supervisor.state().model_status == "error", "loading failed")
    assert "golden clip" in supervisor.state().load_error


def test_a_failed_load_is_reported_and_tried_again_until_it_succeeds(start, tmp_path):
    directory = tmp_path / "late"
    supervisor = start(model=str(directory))
    wait_until(lambda: supervisor.state().model_status == "error", "loading failed")
    assert supervisor.state().load_error == f"Model file not found: {directory}"
    with pytest.raises(ModelNotReady, match="Model loading failed: Model file not found"):
        supervisor.submit(SHORT)
    write_model(directory)
    assert ready(supervisor).state().model_status == "ready"
    assert supervisor.state().load_error is None


def test_a_replaced_model_never_answers_and_the_service_recovers_with_the_files(start, tmp_path):
    directory = write_model(tmp_path / "m")
    supervisor = start(model=str(directory), workers=2)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    served = supervisor.state().served
    write_model(directory, band_network(scale=-0.1), version="0.0.2")
    os.kill(supervisor.state().workers[0].pid, signal.SIGKILL)
    wait_until(lambda: supervisor.state().workers[0].error_code == "model_replaced", "its successor is refused")
    assert "bands 0.0.2" in supervisor.state().workers[0].error
    for _ in range(4):
        answer = supervisor.submit(SHORT).result(PATIENCE_SECONDS)
        assert (answer.predictions()[0].genre, answer.model) == (LABELS[7], served.identity)
    os.kill(supervisor.state().workers[1].pid, signal.SIGKILL)
    wait_until(lambda: supervisor.state().model_status == "error", "no worker is left")
    with pytest.raises(ModelNotReady, match=r"bands 0\.0\.2 .* restore the files"):
        supervisor.submit(SHORT)
    write_model(directory)
    wait_until(lambda: supervisor.state().n_ready == 2, "both are ready")
    assert supervisor.state().served == served
    assert supervisor.submit(SHORT).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[7]


def test_workers_that_load_while_the_files_change_hold_one_model(start, tmp_path, monkeypatch):
    """The second worker starts when the first has loaded, and the files are others by then."""
    directory = write_model(tmp_path / "m")
    note_loaded = Roster.note_loaded

    def replace_files(self, index, ready) -> None:
        note_loaded(self, index, ready)
        if index == 0:
            write_model(directory, uncertain_below=0.9)
            supervisor.pool.slots[1].start()

    monkeypatch.setattr(Roster, "note_loaded", replace_files)
    monkeypatch.setattr(Pool, "_start_slots", lambda self: self.slots[0].start())
    supervisor = start(model=str(directory), workers=2)
    wait_until(lambda: supervisor.state().workers[1].error_code == "model_replaced", "the second is refused")
    assert "different: uncertain_below" in supervisor.state().workers[1].error
    assert supervisor.state().n_ready == 1
