"""From the setting to a model directory: made once, shared between processes, and the embedded model offline."""

from __future__ import annotations

import shutil
import threading

import pytest

from ccmusic.checkpoints import convert
from ccmusic.checkpoints.prepare import Options, cached, prepare
from ccmusic.errors import CacheUnwritable, ModelFileNotFound, ModelRefused
from ccmusic.models.store import EMBEDDED_DIRECTORY, locate
from support.checkpoints import write_checkpoint, write_recordings
from support.fake_hub import REPOSITORY, FakeHub


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A checkpoint, recordings, and a cache into which it was imported."""
    place = tmp_path_factory.mktemp("place")
    write_recordings(place / "audio", 1)
    cached(write_checkpoint(place), Options(place / "cache", place / "audio"))
    return place


@pytest.fixture
def no_second_import(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("imported again")

    monkeypatch.setattr(convert, "import_checkpoint", refuse)


def checkpoint(place):
    return place / "vgg19_bn_cqt" / "save.pt"


def options(place, **changes):
    return Options(place / "cache", place / "audio", **changes)


def test_what_lies_ready_is_left_alone():
    location = locate("embedded")
    assert prepare(location, Options(EMBEDDED_DIRECTORY)) == (location, None)


def test_a_checkpoint_is_imported_once(place, no_second_import):
    location, caveat = prepare(locate(str(checkpoint(place))), options(place))
    assert (location.directory / "card.json").is_file()
    assert location.configured == str(checkpoint(place))
    assert caveat is None


def test_the_same_bytes_of_other_features_are_another_model(place):
    mel = place / "vgg19_bn_mel"
    mel.mkdir(exist_ok=True)
    shutil.copy(checkpoint(place), mel)
    assert cached(mel / "save.pt", options(place)) != cached(checkpoint(place), options(place))


def test_a_damaged_entry_is_made_anew(place, tmp_path):
    shutil.copytree(place / "cache", tmp_path / "cache")
    how = Options(tmp_path / "cache", place / "audio")
    directory = cached(checkpoint(place), how)
    network = directory / "model.float32.onnx"
    network.unlink()
    assert cached(checkpoint(place), how) == directory
    assert network.is_file()


def test_two_that_want_the_same_make_it_once(place, tmp_path, monkeypatch):
    begun, go = threading.Event(), threading.Event()
    made = []

    def slow(path, directory, **_):
        made.append(path)
        begun.set()
        go.wait(60)
        shutil.copytree(cached(checkpoint(place), options(place)), directory)

    monkeypatch.setattr(convert, "import_checkpoint", slow)
    how, stages, found = Options(tmp_path / "cache"), [], []
    waiting = threading.Event()

    def stage(text):
        stages.append(text)
        if text.startswith("waiting"):
            waiting.set()

    first = threading.Thread(target=lambda: found.append(cached(checkpoint(place), how)))
    first.start()
    assert begun.wait(60)
    second = threading.Thread(target=lambda: found.append(cached(checkpoint(place), how, stage)))
    second.start()
    assert waiting.wait(60)
    go.set()
    first.join()
    second.join()
    assert len(made) == 1
    assert found[0] == found[1]
    assert "waiting for another process that imports it" in stages


def test_no_checkpoint(tmp_path):
    with pytest.raises(ModelFileNotFound, match=r"nowhere/save\.pt"):
        prepare(locate("./nowhere/save.pt"), Options(tmp_path))


def test_a_cache_that_cannot_be_written_says_so(place, tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(CacheUnwritable, match="set CCMUSIC_MODEL_CACHE to a directory"):
        cached(checkpoint(place), Options(tmp_path / "cache"))


def test_a_hub_that_is_away_leaves_the_embedded_model_and_a_reason(tmp_path):
    with FakeHub({}) as hub:
        endpoint = hub.url
    how = Options(tmp_path, hub_endpoint=endpoint, attempts=1)
    location, caveat = prepare(locate(f"hf://{REPOSITORY}/vgg19_bn_cqt"), how)
    assert location.directory == EMBEDDED_DIRECTORY
    assert location.configured == f"hf://{REPOSITORY}/vgg19_bn_cqt"
    assert "could not be fetched, so the embedded model serves" in caveat
    assert endpoint in caveat


def test_offline_asks_nobody(tmp_path):
    with FakeHub({"vgg19_bn_cqt/save.pt": b"x" * 2000}) as hub:
        how = Options(tmp_path, hub_endpoint=hub.url, hub_offline=True)
        _, caveat = prepare(locate(REPOSITORY), how)
        assert not hub.requests
    assert "no hub may be asked" in caveat


def test_a_checkpoint_of_a_hub_is_fetched_imported_and_found_again_without_it(place, tmp_path, no_second_import):
    shutil.copytree(place / "cache" / "imported", tmp_path / "imported")
    with FakeHub({"vgg19_bn_cqt/save.pt": checkpoint(place).read_bytes()}) as hub:
        how = Options(tmp_path, hub_endpoint=hub.url, attempts=1)
        first = prepare(locate(f"hf://{REPOSITORY}"), how)
    assert first[1] is None
    assert prepare(locate(f"hf://{REPOSITORY}"), how) == first


def test_what_a_hub_sends_is_not_trusted(tmp_path):
    with (
        FakeHub({"vgg19_bn_cqt/save.pt": b"no checkpoint" * 200}) as hub,
        pytest.raises(ModelRefused, match=r"save\.pt"),
    ):
        prepare(locate(f"hf://{REPOSITORY}"), Options(tmp_path, hub_endpoint=hub.url))
