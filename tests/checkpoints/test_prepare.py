"""From the setting to a model directory: imported once, shared between processes, embedded without a network."""

from __future__ import annotations

import shutil
import sys
import threading

import pytest

from ccmusic.checkpoints import convert
from ccmusic.checkpoints.prepare import Options, cached, prepare
from ccmusic.errors import CacheUnwritable, InvalidParameter, ModelFileNotFound, ModelRefused
from ccmusic.models.card import read_card
from ccmusic.models.store import EMBEDDED_DIRECTORY, locate
from support.checkpoints import write_checkpoint, write_recordings
from support.fake_hub import REPOSITORY, FakeHub
from support.waiting import PATIENCE_SECONDS


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


def test_a_model_directory_is_used_as_it_is():
    location = locate("embedded")
    assert prepare(location, Options(EMBEDDED_DIRECTORY)) == (location, None)


def test_a_checkpoint_is_imported_once(place, no_second_import):
    location, caveat = prepare(locate(str(checkpoint(place))), options(place))
    assert (location.directory / "card.json").is_file()
    assert location.configured == str(checkpoint(place))
    assert caveat is None


def test_the_same_bytes_with_other_features_are_another_model(place):
    mel = place / "vgg19_bn_mel"
    mel.mkdir(exist_ok=True)
    shutil.copy(checkpoint(place), mel)
    assert cached(mel / "save.pt", options(place)) != cached(checkpoint(place), options(place))


def test_an_incomplete_entry_is_imported_again(place, tmp_path):
    shutil.copytree(place / "cache", tmp_path / "cache")
    how = Options(tmp_path / "cache", place / "audio")
    directory = cached(checkpoint(place), how)
    network = directory / "model.float32.onnx"
    network.unlink()
    assert cached(checkpoint(place), how) == directory
    assert network.is_file()


def test_two_imports_of_the_same_checkpoint_at_the_same_time_are_one(place, tmp_path, monkeypatch):
    started, proceed = threading.Event(), threading.Event()
    made = []

    def slow(path, directory, **_):
        made.append(path)
        started.set()
        proceed.wait(PATIENCE_SECONDS)
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
    assert started.wait(PATIENCE_SECONDS)
    second = threading.Thread(target=lambda: found.append(cached(checkpoint(place), how, stage)))
    second.start()
    assert waiting.wait(PATIENCE_SECONDS)
    proceed.set()
    first.join()
    second.join()
    assert len(made) == 1
    assert found[0] == found[1]
    assert "waiting for another process that imports it" in stages


def test_a_missing_checkpoint(tmp_path):
    with pytest.raises(ModelFileNotFound, match=r"nowhere/save\.pt"):
        prepare(locate("./nowhere/save.pt"), Options(tmp_path))


def test_features_can_be_given_where_no_name_says_them(place, tmp_path):
    unnamed = tmp_path / "mine" / "save.pt"
    unnamed.parent.mkdir()
    shutil.copy(checkpoint(place), unnamed)
    how = Options(tmp_path / "cache", place / "audio")
    with pytest.raises(InvalidParameter, match="features must be cqt or mel"):
        cached(unnamed, how)
    directory = cached(unnamed, how, features="cqt")
    # the entry that the setting CCMUSIC_MODEL finds too
    assert prepare(locate(str(unnamed)), how)[0].directory == directory
    assert cached(unnamed, how, features="mel") == directory
    assert read_card(directory / "card.json").features.kind == "mel_db"


def test_given_features_must_agree_with_the_name(place):
    assert cached(checkpoint(place), options(place), features="cqt") == cached(checkpoint(place), options(place))
    with pytest.raises(InvalidParameter, match="features must be cqt, as the name"):
        cached(checkpoint(place), options(place), features="mel")


def test_an_imported_model_is_found_without_the_lock(place, monkeypatch, no_second_import):
    monkeypatch.setitem(sys.modules, "filelock", None)
    assert cached(checkpoint(place), options(place)).is_dir()


def test_a_cache_that_cannot_be_written_is_an_error(place, tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(CacheUnwritable, match="set CCMUSIC_MODEL_CACHE to a directory"):
        cached(checkpoint(place), Options(tmp_path / "cache"))


def test_if_the_hub_is_unreachable_the_embedded_model_is_used_with_a_caveat(tmp_path):
    with FakeHub({}) as hub:
        endpoint = hub.url
    how = Options(tmp_path, hub_endpoint=endpoint, attempts=1)
    location, caveat = prepare(locate(f"hf://{REPOSITORY}/vgg19_bn_cqt"), how)
    assert location.directory == EMBEDDED_DIRECTORY
    assert location.configured == f"hf://{REPOSITORY}/vgg19_bn_cqt"
    assert "could not be fetched, so the embedded model serves" in caveat
    assert endpoint in caveat


def test_offline_sends_no_request(tmp_path):
    with FakeHub({"vgg19_bn_cqt/save.pt": b"x" * 2000}) as hub:
        how = Options(tmp_path, hub_endpoint=hub.url, hub_offline=True)
        _, caveat = prepare(locate(REPOSITORY), how)
        assert not hub.requests
    assert "no hub may be asked" in caveat


def test_a_checkpoint_of_a_hub_is_found_again_without_the_hub(place, tmp_path, no_second_import):
    shutil.copytree(place / "cache" / "imported", tmp_path / "imported")
    with FakeHub({"vgg19_bn_cqt/save.pt": checkpoint(place).read_bytes()}) as hub:
        how = Options(tmp_path, hub_endpoint=hub.url, attempts=1)
        first = prepare(locate(f"hf://{REPOSITORY}"), how)
    assert first[1] is None
    assert prepare(locate(f"hf://{REPOSITORY}"), how) == first


def test_a_file_from_a_hub_that_is_not_a_checkpoint_is_refused(tmp_path):
    with (
        FakeHub({"vgg19_bn_cqt/save.pt": b"no checkpoint" * 200}) as hub,
        pytest.raises(ModelRefused, match=r"save\.pt"),
    ):
        prepare(locate(f"hf://{REPOSITORY}"), Options(tmp_path, hub_endpoint=hub.url))
