"""``ccmusic models``."""

from __future__ import annotations

import pytest

from ccmusic.checkpoints.prepare import prepare
from ccmusic.classifier import import_options
from ccmusic.cli import main
from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.models.store import locate
from ccmusic.settings import read_settings
from support.bands_model import write_own_model, write_world_model
from support.checkpoints import write_checkpoint, write_recordings
from support.fake_hub import REPOSITORY, FakeHub


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CCMUSIC_MODEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CCMUSIC_IMPORT_AUDIO", str(write_recordings(tmp_path / "audio", 1)))
    return tmp_path / "cache"


def test_import_reports_the_result_and_how_to_serve_it(tmp_path, cache, capsys):
    assert main(["models", "import", str(write_checkpoint(tmp_path).parent)]) == 0
    printed = capsys.readouterr()
    assert "parameters, as expected" in printed.out
    (directory,) = (path for path in (cache / "imported").iterdir() if path.is_dir())
    assert f"CCMUSIC_MODEL={directory} ccmusic serve" in printed.out
    assert "... building vgg19_bn" in printed.err
    main(["models", "list"])
    listed = capsys.readouterr().out
    assert "CCMUSIC_MODEL=embedded" in listed
    assert "vgg19-bn-cqt" in listed


def test_quiet_prints_no_stage(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["models", "import", str(write_checkpoint(tmp_path)), "--out", str(out), "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert (out / "card.json").is_file()


def test_a_directory_with_other_files_is_not_replaced(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    assert main(["models", "import", str(write_checkpoint(tmp_path)), "--out", str(tmp_path / "mine")]) != 0
    assert "which holds other things than a model" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_refusal_is_one_sentence(tmp_path, capsys):
    path = write_checkpoint(tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    assert main(["models", "import", str(path)]) != 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("ccmusic: ")


def test_pull_fetches_and_imports(tmp_path, cache, capsys):
    content = write_checkpoint(tmp_path).read_bytes()
    with FakeHub({"vgg19_bn_cqt/save.pt": content}) as hub:
        assert main(["models", "pull", f"hf://{REPOSITORY}", "--endpoint", hub.url]) == 0
    printed = capsys.readouterr().out
    assert str(cache / "hub") in printed
    assert "CCMUSIC_MODEL=" in printed
    assert main(["models", "pull", f"hf://{REPOSITORY}", "--offline"]) == 0


def test_pull_without_a_network_prints_what_to_do(capsys):
    assert main(["models", "pull", "hf://owner/name", "--offline"]) != 0
    assert "pull it once with a network, or copy the cache" in capsys.readouterr().err


def test_pull_needs_a_repository(capsys):
    assert main(["models", "pull", "embedded"]) != 0
    assert "must name a hub's repository, such as OWNER/NAME" in capsys.readouterr().err


def test_the_list_names_the_taxonomies_of_each_model(tmp_path, monkeypatch, capsys):
    write_own_model(tmp_path / "own")
    write_world_model(tmp_path / "world")
    monkeypatch.setenv("CCMUSIC_MODEL_REPOSITORY", str(tmp_path))
    assert main(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert "float32  own (3)\n" in listed
    assert "float32  ccmusic (16), world (16)\n" in listed


def test_the_service_finds_an_imported_checkpoint_in_the_cache(tmp_path, cache, capsys, monkeypatch):
    path = write_checkpoint(tmp_path)
    assert main(["models", "import", str(path), "--quiet"]) == 0
    monkeypatch.setattr("ccmusic.checkpoints.convert.import_checkpoint", lambda *_, **__: pytest.fail("imported again"))
    location, caveat = prepare(locate(str(path)), import_options(read_settings()))
    assert (location.directory.parent, caveat) == (cache / "imported", None)
    assert f"CCMUSIC_MODEL={location.directory} ccmusic serve" in capsys.readouterr().out
    assert main(["models", "import", str(path), "--quiet"]) == 0
    assert "is in the cache already" in capsys.readouterr().out


def test_the_cache_keeps_the_features_that_no_name_says(tmp_path, cache, capsys, monkeypatch):
    path = write_checkpoint(tmp_path, "downloads")
    assert main(["models", "import", str(path), "--quiet"]) == 2
    assert "features must be cqt or mel" in capsys.readouterr().err
    assert main(["models", "import", str(path), "--features", "mel", "--quiet"]) == 0
    monkeypatch.setattr("ccmusic.checkpoints.convert.import_checkpoint", lambda *_, **__: pytest.fail("imported again"))
    location, _ = prepare(locate(str(path)), import_options(read_settings()))
    assert read_card(location.directory / CARD_NAME).features.kind == "mel_db"
