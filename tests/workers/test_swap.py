import threading
from types import SimpleNamespace

import numpy as np
import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import ModelFileNotFound, ModelRefused, ModelReplaced, SwapInProgress
from ccmusic.genres import LABELS, WORLD
from ccmusic.models.store import locate
from ccmusic.workers import supervisor as supervisor_module
from ccmusic.workers.channel import Job
from ccmusic.workers.restart_log import RestartLog
from ccmusic.workers.roster import Roster
from ccmusic.workers.slot_jobs import SlotJobs
from ccmusic.workers.supervisor import Supervisor
from ccmusic.workers.swap import wait_until_loaded
from support.bands_model import band_network, write_model, write_own_model, write_world_model
from support.recordings import bin_frequency, tone, wav
from support.waiting import PATIENCE_SECONDS, wait_until


def song(index: int) -> Job:
    """A tone for which the bands model names genre `index`."""
    return Job(wav(tone(bin_frequency(5 * index + 2), 1.0)), WindowPlan(), False)


@pytest.fixture
def supervisor(make_settings, tmp_path):
    write_model(tmp_path / "same", version="0.0.2")
    write_model(tmp_path / "backwards", band_network(scale=-0.1), version="0.0.3")
    write_model(tmp_path / "damaged", version="0.0.4")
    (tmp_path / "damaged" / "model.onnx").write_bytes(b"no network")
    # a busy machine may take many times as long for one of two models that take milliseconds
    supervisor = Supervisor(make_settings(model_repository=tmp_path, swap_max_slowdown=100.0))
    supervisor.start()
    wait_until(lambda: supervisor.state().n_ready == 1, "the worker is ready")
    yield supervisor
    supervisor.stop()


def classify_songs(supervisor: Supervisor, n: int = 8) -> None:
    for index in range(n):
        assert supervisor.submit(song(index)).result(PATIENCE_SECONDS).predictions()[0].genre == LABELS[index]


def test_a_model_that_agrees_takes_over_while_requests_are_served(supervisor):
    classify_songs(supervisor)
    answers, stop = [], threading.Event()

    def send() -> None:
        while not stop.is_set():
            answers.append(supervisor.submit(song(3)).result(PATIENCE_SECONDS))

    sending = threading.Thread(target=send)
    sending.start()
    report = supervisor.load_model("same")
    n_before = len(answers)
    wait_until(lambda: len(answers) > n_before + 3, "requests are served")
    stop.set()
    sending.join()
    assert report.agreement == 1.0
    assert report.compared >= 5
    assert report.as_json()["status"] == "switched"
    assert supervisor.state().served.identity.version == "0.0.2"
    assert {answer.predictions()[0].genre for answer in answers} == {LABELS[3]}
    versions = [answer.model.version for answer in answers]
    assert versions == sorted(versions)  # first the old one, later the new one
    assert set(versions) == {"0.0.1", "0.0.2"}
    assert sum(supervisor.state().restart_counts.values()) == 0


def test_a_model_that_disagrees_is_refused_and_the_old_one_continues(supervisor):
    classify_songs(supervisor)
    with pytest.raises(ModelRefused, match=r"same genre for only \d+% of 8 recent"):
        supervisor.load_model("backwards")
    assert supervisor.state().served.identity.version == "0.0.1"
    classify_songs(supervisor, 2)


def test_a_model_that_is_slow_is_refused(supervisor, monkeypatch):
    monkeypatch.setattr(supervisor_module, "compare", lambda *_: (8, 1.0, 100.5))
    with pytest.raises(ModelRefused, match=r"takes 100\.5 times"):
        supervisor.load_model("same")
    assert supervisor.state().served.identity.version == "0.0.1"


def test_a_model_is_accepted_if_there_is_nothing_to_compare(supervisor):
    report = supervisor.load_model("same")
    assert report.agreement is None
    assert np.isfinite(report.slowdown)


def test_a_damaged_model_is_refused(supervisor):
    with pytest.raises(ModelRefused, match="SHA-256"):
        supervisor.load_model("damaged")
    assert supervisor.state().model_status == "ready"
    classify_songs(supervisor, 1)


def test_a_model_whose_files_change_while_its_workers_load_them_is_refused(make_settings):
    roster = Roster(make_settings(workers=2), locate("embedded"), RestartLog(lambda: None))
    roster.note_load_failure(1, ModelReplaced("a new worker loaded another model"))
    with pytest.raises(ModelRefused, match="its files changed while its workers loaded them: try again"):
        wait_until_loaded(SimpleNamespace(roster=roster), 60.0)


def test_a_model_with_other_labels_is_refused_with_a_way_to_serve_it(supervisor, tmp_path):
    write_own_model(tmp_path / "own")
    with pytest.raises(ModelRefused, match=r"names 3 genres of the taxonomy 'own', and not the 16 of 'ccmusic'"):
        supervisor.load_model("own")
    assert [taxonomy.name for taxonomy in supervisor.state().served.taxonomies] == ["ccmusic"]
    classify_songs(supervisor, 1)


def test_a_model_with_a_further_output_takes_over(supervisor, tmp_path):
    write_world_model(tmp_path / "world", version="0.0.5")
    classify_songs(supervisor)
    assert supervisor.load_model("world").agreement == 1.0
    assert [taxonomy.name for taxonomy in supervisor.state().served.taxonomies] == ["ccmusic", "world"]
    answer = supervisor.submit(song(3)).result(PATIENCE_SECONDS)
    assert (answer.predictions()[0].genre, answer.under("world").predictions()[0].genre) == (
        LABELS[3],
        WORLD.labels[15 - 3],
    )


def test_a_model_takes_over_from_one_that_no_worker_can_load_any_more(make_settings, tmp_path):
    directory = write_model(tmp_path / "m")
    settings = make_settings(model=str(directory), model_repository=tmp_path, swap_max_slowdown=100.0)
    supervisor = Supervisor(settings)
    supervisor.start()
    try:
        wait_until(lambda: supervisor.state().n_ready == 1, "the worker is ready")
        classify_songs(supervisor)
        write_model(directory, version="0.0.2")
        supervisor.restart_workers()
        wait_until(lambda: supervisor.state().model_status == "error", "its successor is refused")
        report = supervisor.load_model("m")
        assert (report.compared, report.agreement) == (0, None)
        assert supervisor.state().served.identity.version == "0.0.2"
        classify_songs(supervisor, 1)
    finally:
        supervisor.stop()


def test_a_recording_whose_worker_is_lost_at_the_change_is_answered_by_the_new_model(
    make_settings, tmp_path, monkeypatch
):
    changed = threading.Event()
    answer = SlotJobs._answer
    monkeypatch.setattr(SlotJobs, "_answer", lambda *reply: changed.wait(PATIENCE_SECONDS) and answer(*reply))
    monkeypatch.setattr(supervisor_module, "compare", lambda *_: (8, 1.0, 1.0))
    write_model(tmp_path / "same", version="0.0.2")
    supervisor = Supervisor(make_settings(model_repository=tmp_path, fault_injection=True, self_test_seconds=600.0))
    supervisor.start()
    try:
        wait_until(lambda: supervisor.state().n_ready == 1, "the worker is ready")
        assert supervisor.inject("corrupt-weights", size=24) > 0  # noticed after the recording
        future = supervisor.submit(song(3))
        wait_until(lambda: supervisor.state().workers[0].state == "busy", "the recording is processed")
        supervisor.load_model("same")
        changed.set()
        assert future.result(PATIENCE_SECONDS).model.version == "0.0.2"
    finally:
        supervisor.stop()


def test_an_unknown_model_is_not_found(supervisor):
    with pytest.raises(ModelFileNotFound, match="no model 'other'"):
        supervisor.load_model("other")


def test_only_one_model_is_loaded_at_a_time(supervisor, monkeypatch):
    def compare(*_) -> tuple[int, float, float]:
        with pytest.raises(SwapInProgress):
            supervisor.load_model("backwards")
        return 8, 1.0, 1.0

    monkeypatch.setattr(supervisor_module, "compare", compare)
    assert supervisor.load_model("same").agreement == 1.0
