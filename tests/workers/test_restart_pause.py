"""The pause between two processes of a slot."""

from __future__ import annotations

import pytest

from ccmusic.errors import ModelRefused
from ccmusic.models.store import ModelLocation
from ccmusic.workers import restart_pause
from ccmusic.workers.channel import Failed, Ready
from ccmusic.workers.restart_pause import RestartPause
from ccmusic.workers.wakeup import Wakeup
from support.bands_model import write_model
from support.stub_worker import READY
from support.waiting import wait_until


@pytest.mark.parametrize(
    ("after", "pauses"),
    [
        ("a failed load", [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]),
        ("work", [0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]),
        ("a failed start", [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]),
    ],
)
def test_each_pause_is_twice_as_long_as_the_one_before_up_to_a_limit(after, pauses):
    wakeup = Wakeup()
    pause = RestartPause(wakeup, roster=None)
    seen = []
    for _ in pauses:
        seen.append(pause.limit(after))
        wakeup.wake()
        pause.wait(after, watch_files=False)
    wakeup.close()
    assert seen == pytest.approx(pauses)


def test_a_pause_after_work_is_short_although_a_load_has_failed_before():
    wakeup = Wakeup()
    pause = RestartPause(wakeup, roster=None)
    pause.seconds = 30.0
    assert pause.limit("work") == 1.0
    wakeup.close()


def test_a_load_is_tried_again_as_soon_as_the_files_have_changed(make_pool, monkeypatch, tmp_path):
    monkeypatch.setattr(restart_pause, "FIRST_PAUSE_SECONDS", 1000.0)
    monkeypatch.setitem(restart_pause.MAX_PAUSE_SECONDS, "a failed load", 1000.0)
    directory = write_model(tmp_path / "m")
    polled = []
    files_state = ModelLocation.files_state
    monkeypatch.setattr(ModelLocation, "files_state", lambda self: polled.append(1) or files_state(self))
    pool = make_pool({Ready: [Failed(ModelRefused("half written"))] * 2 + [READY]}, model=str(directory))
    wait_until(lambda: polled and pool.restarts() == ["load", "load"], "the slot waits")
    write_model(directory, version="0.0.2")
    wait_until(lambda: pool.roster.model_status == "ready", "the model is loaded")
