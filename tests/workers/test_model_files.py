"""What is on disk, compared with the model in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccmusic.errors import ModelError
from ccmusic.inference.result import ModelIdentity
from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.models.card_parts import Calibration
from ccmusic.models.store import locate
from ccmusic.workers import model_files
from ccmusic.workers.model_files import ModelFiles
from ccmusic.workers.served_model import ServedModel
from support.bands_model import band_network, write_model


@pytest.fixture
def served(tmp_path):
    """The model in use; its files are in `tmp_path`."""
    card = read_card(write_model(tmp_path) / CARD_NAME)
    identity = ModelIdentity(card.name, card.version, card.sha256)
    return ServedModel(identity, "onnxruntime-cpu", answer_hashes=card.answer_hashes())


@pytest.fixture
def difference(served, tmp_path):
    files = ModelFiles()
    return lambda: files.difference(locate(str(tmp_path)), served)


def test_the_files_of_the_model_in_use_do_not_differ(difference, tmp_path):
    assert difference() is None
    write_model(tmp_path, description="other words")
    assert difference() is None


def test_another_network_with_its_card_differs(difference, tmp_path):
    write_model(tmp_path, band_network(scale=-0.1), version="0.0.2")
    assert "is that of bands 0.0.2" in difference()
    assert "POST /v2/repository/models/NAME/load" in difference()


def test_a_new_card_beside_the_old_network_differs(difference, tmp_path):
    network = (tmp_path / "model.onnx").read_bytes()
    write_model(tmp_path, band_network(scale=-0.1))
    (tmp_path / "model.onnx").write_bytes(network)
    assert "card.json on disk is that of" in difference()


def test_a_new_network_beside_the_old_card_differs(difference, tmp_path):
    (tmp_path / "model.onnx").write_bytes(band_network(scale=-0.1))
    assert "the next start would not load it" in difference()


def test_a_card_with_another_calibration_names_it(difference, tmp_path):
    write_model(tmp_path, calibration=(Calibration(seconds=1.0, temperature=3.0),))
    assert "(different: calibration)" in difference()


def test_files_that_are_back_do_not_differ(difference, tmp_path):
    network = (tmp_path / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(network[:100])
    assert difference() is not None
    (tmp_path / "model.onnx").write_bytes(network)
    assert difference() is None


def test_files_that_cannot_be_read_raise(difference, tmp_path):
    (tmp_path / CARD_NAME).write_text("{}")
    with pytest.raises(ModelError):
        difference()


def test_an_unchanged_network_is_hashed_once_a_period(served, tmp_path, monkeypatch):
    hashed: list[Path] = []
    file_sha256 = model_files.file_sha256
    monkeypatch.setattr(model_files, "file_sha256", lambda path: hashed.append(path) or file_sha256(path))
    rare, often = ModelFiles(3600.0), ModelFiles(0.0)
    for files in (rare, rare, often, often):
        assert files.difference(locate(str(tmp_path)), served) is None
    assert len(hashed) == 3
