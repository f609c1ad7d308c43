from dataclasses import replace
from pathlib import Path

import pytest

from ccmusic.errors import ModelFileNotFound, ModelRefused
from ccmusic.models.store import EMBEDDED_DIRECTORY, locate, read_model
from support.bands_model import write_model


def test_embedded_is_found_in_the_package():
    assert locate("embedded").directory == EMBEDDED_DIRECTORY
    assert locate("embedded").missing() is None


def test_a_directory_and_its_card_name_the_same_model(model_directory):
    assert locate(str(model_directory)).directory == locate(str(model_directory / "card.json")).directory


def test_the_model_has_the_hash_of_its_card(model_directory):
    card, network = read_model(locate(str(model_directory)))
    assert card.name == "bands"
    assert network == (model_directory / "model.onnx").read_bytes()


def test_a_missing_model_is_named_as_it_was_configured(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert locate("./nowhere").missing() == "./nowhere"
    with pytest.raises(ModelFileNotFound, match=r"^\./nowhere$"):
        read_model(locate("./nowhere"))


def test_a_missing_network_file_is_named(tmp_path):
    directory = write_model(tmp_path / "m")
    (directory / "model.onnx").unlink()
    assert locate(str(directory)).missing() == str(Path(directory) / "model.onnx")


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_a_changed_network_is_refused(tmp_path, damage):
    directory = write_model(tmp_path / "m")
    network = bytearray((directory / "model.onnx").read_bytes())
    if damage == "truncate":
        del network[-1]
    else:
        network[len(network) // 2] ^= 1
    (directory / "model.onnx").write_bytes(network)
    with pytest.raises(ModelRefused, match="SHA-256"):
        read_model(locate(str(directory)))


def test_the_state_of_the_files_follows_every_change(tmp_path):
    directory = write_model(tmp_path / "m")
    other = write_model(tmp_path / "other")
    link = tmp_path / "current"
    link.symlink_to(directory)
    location = locate(str(link))
    states = [location.files_state()]
    assert location.files_state() == states[0]

    def changed() -> bool:
        states.append(location.files_state())
        return states[-1] not in states[:-1]

    (directory / "model.onnx").write_bytes(b"half")
    assert changed()
    (directory / "model.onnx").unlink()
    assert changed()
    (directory / "card.json").write_text("{}")
    assert changed()
    link.unlink()
    assert changed()
    link.symlink_to(other)
    assert changed()


@pytest.mark.parametrize("spelling", ["vgg19_bn_cqt/save.pt", "vgg19_bn_cqt", "./vgg19_bn_cqt/save.pt"])
def test_a_checkpoint_is_distinguished_from_a_model_directory(monkeypatch, tmp_path, spelling):
    monkeypatch.chdir(tmp_path)
    checkpoint = tmp_path / "vgg19_bn_cqt" / "save.pt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    location = locate(spelling)
    assert (location.checkpoint, location.directory, location.missing()) == (checkpoint, None, None)
    checkpoint.unlink()
    assert location.missing() == spelling
    with pytest.raises(ModelRefused, match="is a checkpoint: import it first"):
        checkpoint.touch()
        read_model(location)


def test_a_missing_checkpoint_is_named_as_it_was_configured():
    assert locate("./vgg19_bn_cqt/save.pt").missing() == "./vgg19_bn_cqt/save.pt"


def test_a_model_from_a_checkpoint_needs_the_checkpoint_and_its_directory(tmp_path):
    directory = write_model(tmp_path / "m")
    checkpoint = tmp_path / "save.pt"
    checkpoint.touch()
    location = replace(locate(str(checkpoint)), directory=directory)
    assert location.missing() is None
    (directory / "model.onnx").unlink()
    assert location.missing() == str(directory / "model.onnx")
    checkpoint.unlink()
    assert location.missing() == str(checkpoint)
