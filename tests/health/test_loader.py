import threading

import pytest

from ccmusic.health import Health, LoaderNotReady, loader
from support.waiting import wait_until


@pytest.fixture
def health():
    health = Health("app", "1.0", period_seconds=0.05)
    yield health
    health.stop()


def probes(health):
    snapshot = health.snapshot()
    return [snapshot.passes(probe) for probe in ("health", "startupz", "livez", "readyz")]


def test_loading_and_then_ready(health):
    go = threading.Event()

    def load():
        go.wait()
        return "the model"

    model = health.load("model", load)
    health.start()
    assert health.snapshot().message == "Model is still loading..."
    assert health.snapshot().model_status == model.state == "loading"
    assert probes(health) == [False, False, True, False]
    with pytest.raises(LoaderNotReady, match=r"Model is still loading\.\.\."):
        _ = model.value
    go.set()
    wait_until(lambda: health.snapshot().healthy, "healthy")
    assert model.value == "the model"
    assert health.snapshot().model_status == "ready"
    assert probes(health) == [True] * 4


def test_a_failure_is_kept_until_a_loading_succeeds(health):
    broken = [ValueError("bad hash")]
    tries = []

    def load():
        tries.append(1)
        if broken:
            raise broken[0]

    model = health.load("model", load, retry_seconds=0.01)
    health.start()
    wait_until(
        lambda: len(tries) >= 3 and health.snapshot().message == "Model loading failed: bad hash", "tries that fail"
    )
    assert health.snapshot().model_status == "error"
    assert probes(health) == [False, False, True, False]
    with pytest.raises(LoaderNotReady, match="Model loading failed: bad hash"):
        _ = model.value
    broken.clear()
    wait_until(lambda: health.snapshot().healthy, "healthy")
    assert model.value is None
    assert model.error is None


def test_without_retries_a_failure_is_final(health):
    tries = []

    def load():
        tries.append(1)
        raise SystemExit("no licence")  # what a library does that thinks it is the program

    health.load("model", load)
    health.start()
    wait_until(lambda: health.snapshot().message == "Model loading failed: no licence", "the failure")
    threading.Event().wait(0.1)
    assert len(tries) == 1


def test_a_missing_file_is_named_as_configured(health, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)

    def load():
        raise FileNotFoundError("save.pt")

    health.load("model", load, path="./m/save.pt")
    health.start()
    wait_until(lambda: health.snapshot().message == "Model file not found: ./m/save.pt", "the message")
    assert health.snapshot().model_status == "error"
    wait_until(lambda: str(tmp_path / "m/save.pt") in caplog.text, "the absolute path in the log")
    assert f"seen from {tmp_path}" in caplog.text


def test_a_file_removed_after_loading_fails_only_health(health, tmp_path):
    path = tmp_path / "save.pt"
    path.touch()
    health.load("model", lambda: "loaded", path=path)
    health.start()
    wait_until(lambda: health.snapshot().healthy, "healthy")
    path.unlink()
    wait_until(lambda: health.snapshot().message == f"Model file not found: {path}", "the message")
    assert probes(health) == [False, True, True, True]
    assert health.snapshot().model_status == "ready"
    path.touch()
    wait_until(lambda: health.snapshot().healthy, "healthy again")


def test_a_loading_is_retried_soon_after_its_file_is_back_or_changed(health, tmp_path):
    path = tmp_path / "save.pt"
    tries = []

    def load():
        tries.append(1)
        if path.read_text() != "good":
            raise ValueError("bad hash")

    health.load("model", load, path=path, retry_seconds=3600)
    health.start()
    wait_until(lambda: len(tries) == 1 and health.snapshot().model_status == "error", "the file is missing")
    path.write_text("bad")
    wait_until(lambda: health.snapshot().message == "Model loading failed: bad hash", "the file is back")
    assert len(tries) == 2
    path.write_text("good")
    wait_until(lambda: health.snapshot().healthy, "healthy")
    assert len(tries) == 3


@pytest.mark.parametrize(
    ("seen", "is_retried"),
    [
        ([None, None, None, None], False),
        ([1, 1, 1, 1], False),
        ([None, 1, 2, 3, 3], True),
        ([2, 3, 4, 5], False),
        ([2, None, None, None], False),
    ],
    ids=["still missing", "unchanged", "back, after it was written", "being written", "removed"],
)
def test_a_loading_is_retried_early_when_another_file_is_complete(monkeypatch, seen, is_retried):
    monkeypatch.setattr(loader, "LONGEST_LOOK_SECONDS", 0.001)
    looks = iter(seen[1:])
    stopping = threading.Event()

    def file_state():
        try:
            return next(looks)
        except StopIteration:
            stopping.set()  # it would have waited for longer
            return seen[-1] if seen[-1] == seen[0] else None

    waiting = loader.Loader("model", dict, path="save.pt", retry_seconds=3600)
    monkeypatch.setattr(waiting, "_file_state", file_state)
    assert waiting._wait(stopping, 3600, seen[0]) is is_retried


def test_the_pause_of_a_loading_ends_when_the_loader_is_stopped(health, tmp_path):
    model = health.load("model", lambda: 1 / 0, path=tmp_path / "none", retry_seconds=3600)
    health.start()
    wait_until(lambda: model.state == "error", "the failure")
    model.stop()
    model._thread.join(30)
    assert not model._thread.is_alive()


def test_a_loader_added_to_a_running_health_starts_at_once(health):
    health.start()
    model = health.load("model", lambda: 3)
    wait_until(lambda: model.state == "ready", "ready")


def test_the_model_status_is_that_of_the_worst_loader(health):
    go = threading.Event()
    health.load("one", lambda: 1)
    health.load("two", go.wait)
    health.start()
    assert health.snapshot().model_status == "loading"
    health.load("three", lambda: 1 / 0)
    wait_until(lambda: health.snapshot().model_status == "error", "the error")
    go.set()
