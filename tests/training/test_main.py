from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ccmusic.inference.backend import OnnxBackend
from ccmusic.models.card import read_card
from ccmusic.training import crossval
from ccmusic.training.__main__ import main
from ccmusic.training.configuration import Configuration


@pytest.fixture(scope="module")
def trained(data_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Two epochs from scratch over two folds, by the command line, to a model directory and the pages."""
    place = tmp_path_factory.mktemp("training")
    configuration = {"start": "scratch", "batch_size": 16, "seconds": [0.3, 1.0], "shares": [0.5, 0.5]}
    (place / "configuration.json").write_text(json.dumps(configuration))
    arguments = [
        "--data", str(data_directory), "--work", str(place / "work"), "--out", str(place / "model"),
        "--docs", str(place / "docs"), "--folds", "0,1", "--epochs", "2", "--jobs", "1",
        "--configuration", str(place / "configuration.json"),
    ]  # fmt: skip
    main(arguments)
    return place, arguments


def _configuration(place: Path) -> Configuration:
    return Configuration.read(place / "configuration.json", epochs=2)


def test_two_epochs_end_in_a_loadable_model(trained: tuple[Path, list[str]]) -> None:
    place, _ = trained
    card = read_card(place / "model" / "card.json")
    backend = OnnxBackend((place / "model" / card.file).read_bytes(), len(card.labels))
    assert backend.logits(np.full((2, 84, 13), -40, dtype=np.float32)).shape == (2, 16)
    assert [entry.window_seconds for entry in card.calibration] == [0.3, 1.0, 3.0, 10.0]
    assert {clip.signal for clip in card.golden} == {"chords", "beat"}
    assert sum(card.reference_mix) == pytest.approx(1, abs=1e-3)
    assert (card.reference.recordings, card.reference.artists) == (40, 20)
    assert card.reference.bandwidth_hz.variance > 0
    assert card.reference.level_dbfs is None  # all the same in the made data
    assert 0 <= card.metrics["out_of_fold"]["top1_16"] <= card.metrics["out_of_fold"]["top5_16"]


def test_out_of_fold_means_every_known_clip_of_the_folds_once(
    trained: tuple[Path, list[str]], data_directory: Path
) -> None:
    place, _ = trained
    dataset = crossval.load(data_directory)
    out_of_fold = crossval.gather(place / "work", [0, 1], dataset)
    assert sorted(out_of_fold.rows) == np.flatnonzero(dataset.fold < 2).tolist()
    assert out_of_fold.logits[30.0].shape == (16, 1, 2, 16)
    assert out_of_fold.logits[0.3].shape == (16, 3, 1, 16)


def test_pages_show_every_picture_they_name(trained: tuple[Path, list[str]]) -> None:
    place, _ = trained
    page = (place / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for name in ("confusion", "lengths", "reliability"):
        assert f"](images/evaluation-{name}.png)" in page
        assert (place / "docs" / "images" / f"evaluation-{name}.png").stat().st_size > 5000


def test_finished_runs_are_taken_up(trained: tuple[Path, list[str]]) -> None:
    place, arguments = trained
    before = {path.name: path.stat().st_mtime_ns for path in (place / "work").glob("*.pt")}
    first = (place / "model" / "card.json").read_bytes()
    main(arguments)
    assert {path.name: path.stat().st_mtime_ns for path in (place / "work").glob("*.pt")} == before
    assert sorted(before) == ["final.pt", "fold-0.pt", "fold-1.pt"]
    assert (place / "model" / "card.json").read_bytes() == first


def test_another_configuration_is_not_taken_for_finished(trained: tuple[Path, list[str]]) -> None:
    place, _ = trained
    same = _configuration(place)
    assert crossval.is_finished(place / "work", 0, same)
    assert not crossval.is_finished(place / "work", 0, replace(same, epochs=3))
    assert not crossval.is_finished(place / "work", 3, same)


def test_every_epoch_is_logged_and_learns(trained: tuple[Path, list[str]]) -> None:
    place, _ = trained
    log = json.loads((place / "work" / "fold-0.json").read_text())
    assert len(log["losses"]) == 2
    assert log["losses"][1] < log["losses"][0]
    assert log["clips"] == 32
