"""A pool whose model must be made first: what is reported meanwhile, what is tried again, what ends it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import ModelFileNotFound, ModelNotReady, ModelRefused
from ccmusic.health.clock import CLOCK
from ccmusic.workers import preparation
from ccmusic.workers.channel import Job
from ccmusic.workers.preparation import ImportWatch, run_importing
from ccmusic.workers.process_info import ThreadTimes
from ccmusic.workers.supervisor import Supervisor
from support.checkpoints import IMPORT_SECONDS, write_checkpoint, write_recordings
from support.recordings import tone, wav
from support.waiting import wait_until

JOB = Job(wav(tone(440, 12.0)), WindowPlan(), False)

pytestmark = pytest.mark.timeout(2 * IMPORT_SECONDS)


@pytest.fixture
def start(make_settings, tmp_path):
    started = []

    def begin(model: Path | str, **changes) -> Supervisor:
        settings = make_settings(
            model=str(model), model_cache=tmp_path / "cache", import_audio=tmp_path / "audio", **changes
        )
        supervisor = Supervisor(settings)
        started.append(supervisor)
        supervisor.start()
        return supervisor

    write_recordings(tmp_path / "audio", 1)
    yield begin
    for supervisor in started:
        supervisor.stop()


def answer(supervisor: Supervisor):
    future = supervisor.submit(JOB)
    assert isinstance(future, Future)
    return future.result(IMPORT_SECONDS)


@pytest.mark.parametrize(
    "line", ["", "no JSON\n", "[1]\n", '{"stage": ["a"]}\n', "[" * 100_000, '{"directory": {"a": 1}}\n']
)
def test_what_is_no_message_of_an_import_is_no_message(line):
    assert preparation._checked(line) == {}


@pytest.mark.parametrize("name", ["annotations", "__doc__", "WorkerDied", "no such error"])
def test_an_import_reports_errors_of_models_only(name):
    assert type(preparation._error(name, "why")) is ModelRefused


def test_a_checkpoint_becomes_the_model_in_use(start, tmp_path):
    supervisor = start(write_checkpoint(tmp_path))
    assert supervisor.state().model_status == "loading"
    with pytest.raises(ModelNotReady, match=r"Model is still loading\.\.\."):
        supervisor.submit(JOB)
    wait_until(lambda: supervisor.state().preparing is not None, "a stage is reported", IMPORT_SECONDS)
    wait_until(lambda: supervisor.state().model_status == "ready", "the model is ready", IMPORT_SECONDS)
    assert (supervisor.state().preparing, supervisor.state().caveat) == (None, None)
    assert answer(supervisor).model.name == "vgg19-bn-cqt"


def test_a_checkpoint_that_appears_later_is_used(start, tmp_path):
    supervisor = start(tmp_path / "vgg19_bn_cqt" / "save.pt")
    wait_until(lambda: supervisor.state().model_status == "error", "the missing file is reported")
    assert isinstance(supervisor.state().load_failure, ModelFileNotFound)
    write_checkpoint(tmp_path)
    wait_until(lambda: supervisor.state().model_status == "ready", "the model is ready", IMPORT_SECONDS)


def test_a_refused_checkpoint_is_reported_and_tried_again_when_it_changes(start, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "FIRST_PAUSE_SECONDS", 3600.0)
    path = write_checkpoint(tmp_path)
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    supervisor = start(path)
    wait_until(lambda: supervisor.state().model_status == "error", "the damage is reported", IMPORT_SECONDS)
    assert isinstance(supervisor.state().load_failure, ModelRefused)
    assert str(path) in str(supervisor.state().load_failure)
    path.write_bytes(good)
    wait_until(lambda: supervisor.state().model_status == "ready", "the model is ready", IMPORT_SECONDS)


def test_without_a_network_the_embedded_model_is_served_with_a_caveat(start):
    supervisor = start("hf://owner/name", hub_offline=True)
    wait_until(lambda: supervisor.state().model_status == "ready", "the model is ready", IMPORT_SECONDS)
    assert supervisor.state().served.identity.name != "vgg19-bn-cqt"
    assert "hf://owner/name could not be fetched, so the embedded model serves" in supervisor.state().caveat


# the importing process


def importing_children() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            status, command = (entry / "stat").read_text(), (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"ccmusic.checkpoints" in command and status.rsplit(")", 1)[1].split()[1] == str(os.getpid()):
            found.append(int(entry.name))
    return found


@pytest.fixture
def stopped_child(monkeypatch):
    """Stops the importing process as soon as it reports a stage."""

    def stop(stage):
        for pid in importing_children():
            os.kill(pid, signal.SIGSTOP)

    return stop


def test_an_import_that_takes_too_long_is_ended(make_settings, tmp_path, stopped_child, monkeypatch):
    monkeypatch.setattr(preparation, "STOPPED_SECONDS", 600.0)
    settings = make_settings(model_cache=tmp_path, import_timeout_seconds=5.0, import_audio=tmp_path / "audio")
    write_recordings(tmp_path / "audio", 1)
    with pytest.raises(ModelRefused, match="importing took longer than 5 seconds"):
        run_importing(str(write_checkpoint(tmp_path)), settings, threading.Event(), stopped_child)
    assert not importing_children()


def test_a_stopped_import_is_ended_within_seconds(make_settings, tmp_path, stopped_child):
    settings = make_settings(model_cache=tmp_path, import_audio=tmp_path / "audio")
    write_recordings(tmp_path / "audio", 1)
    with pytest.raises(ModelRefused, match=r"the importing process was stopped for \d+ seconds"):
        run_importing(str(write_checkpoint(tmp_path)), settings, threading.Event(), stopped_child)
    assert not importing_children()


def test_an_import_that_is_killed_is_refused(make_settings, tmp_path):
    def kill(stage):
        for pid in importing_children():
            os.kill(pid, signal.SIGKILL)

    settings = make_settings(model_cache=tmp_path)
    with pytest.raises(ModelRefused, match="ended with exit code -9, perhaps because memory is missing"):
        run_importing(str(write_checkpoint(tmp_path)), settings, threading.Event(), kill)


def test_closing_ends_the_import(make_settings, tmp_path, stopped_child):
    closing = threading.Event()

    def close(stage):
        stopped_child(stage)
        closing.set()

    with pytest.raises(ModelRefused, match="or was ended"):
        run_importing(str(write_checkpoint(tmp_path)), make_settings(model_cache=tmp_path), closing, close)
    assert not importing_children()


def test_errors_of_the_import_keep_their_class(make_settings, tmp_path):
    with pytest.raises(ModelFileNotFound) as caught:
        run_importing("./nowhere/save.pt", make_settings(model_cache=tmp_path), threading.Event(), print)
    assert caught.value.sentence == "Model file not found: ./nowhere/save.pt"


def test_an_import_for_which_no_process_can_be_started_is_tried_again(start, tmp_path, monkeypatch):
    refusals = [BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")]
    popen = subprocess.Popen

    def start_process(command, *args, **options):
        if refusals and "ccmusic.checkpoints" in command[-1]:
            raise refusals.pop()
        return popen(command, *args, **options)

    monkeypatch.setattr(subprocess, "Popen", start_process)
    supervisor = start(write_checkpoint(tmp_path))
    wait_until(lambda: supervisor.state().model_status == "error", "the limit is reported")
    assert "a limit of processes is reached" in supervisor.state().load_error
    wait_until(lambda: supervisor.state().model_status == "ready", "the model is ready")


# when an import is ended


def watched(seconds: float, state: str = "S", beats: bool = False, **limits: float) -> str | None:
    """What a watch says after so many seconds of a process in this state."""
    watch = ImportWatch(**({"timeout_seconds": 1800.0, "heartbeat_seconds": 1.0} | limits))
    begin = CLOCK.now()
    watch.note_message(begin)
    why = None
    for turn in range(1, round(5 * seconds) + 1):
        now = begin + turn / 5
        if beats:
            watch.note_message(now)
        why = why or watch.why_to_end(now, {"1": ThreadTimes(0.0, 0.0, state)})
    return why


def test_an_import_may_take_long_while_it_shows_that_it_runs():
    assert watched(600.0, beats=True) is None


def test_a_silent_import_is_ended():
    assert watched(9.0) is None
    assert watched(11.0).startswith("the importing process gave no sign of life for 10 seconds")


def test_an_import_that_waits_for_a_processor_or_the_disk_is_not_ended():
    assert watched(600.0, state="R") is None
    assert watched(600.0, state="D") is None


def test_a_stopped_import_is_ended():
    assert watched(3.0, state="T") is None
    assert watched(3.6, state="T").startswith("the importing process was stopped")


def test_an_import_has_a_limit():
    assert watched(60.0, beats=True, timeout_seconds=50.0) == "importing took longer than 50 seconds"
