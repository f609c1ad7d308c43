from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile

from ccmusic.models.card import MODEL_FILE, read_card
from ccmusic.training import configuration, final_model, runs, world_labels
from ccmusic.training.__main__ import main
from ccmusic.training.configuration import MEMBERS
from ccmusic.training.export import export_onnx
from ccmusic.training.network import GenreNetwork
from support.genre_networks import few_blocks

WORLD_OF = {"Symphony": "Classical", "Solo": "Jazz", "Dance_pop": "Disco", "Soft_rock": "Rock"}


def _tiny(members: dict[str, configuration.Configuration]) -> dict[str, configuration.Configuration]:
    return {
        name: replace(each, start="scratch", batch_size=16, epochs=1, seconds=(0.3, 1.0), shares=(0.5, 0.5))
        for name, each in members.items()
    }


def _export_once(directory: Path) -> Callable[[GenreNetwork, Path], None]:
    """Export each network once: equal networks give equal files, which test_network.py tests."""

    def export(network: GenreNetwork, path: Path) -> None:
        digest = hashlib.sha256(repr(network).encode())
        for name, value in network.state_dict().items():
            digest.update(name.encode() + value.numpy().tobytes())
        file = directory / f"{digest.hexdigest()}.onnx"
        if not file.exists():
            export_onnx(network, file)
        shutil.copyfile(file, path)

    return export


@pytest.fixture(scope="module")
def trained(data_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """Train every network from random weights over two folds with the command, and write the model and the page."""
    place = tmp_path_factory.mktemp("training")
    patch = pytest.MonkeyPatch()
    # changed in place: other modules use the same dictionaries
    for members in (configuration.MEMBERS, configuration.RECORDINGS, configuration.SHORT):
        for name, each in _tiny(members).items():
            patch.setitem(members, name, each)
    lines = [f"{genre}: " + "; ".join(f"artist {fold} {leaf}" for fold in range(5)) for leaf, genre in WORLD_OF.items()]
    (place / "artists.txt").write_text("\n".join(lines))
    patch.setattr(world_labels, "ARTISTS", place / "artists.txt")
    (place / "exported").mkdir()
    patch.setattr(final_model, "export_onnx", _export_once(place / "exported"))
    bands = np.abs(np.arange(513)[None, :] - 4 * np.arange(128)[:, None] - 2) < 4
    np.savez(data_directory / "mn04.npz", mel_filters=bands.astype(np.float32))
    (place / "audio").mkdir()
    sound = np.random.default_rng(0).normal(size=12 * 22050) * np.sin(np.arange(12 * 22050) / 5000) * 0.1
    soundfile.write(place / "audio" / "noise.wav", sound, 22050)
    (place / "audio" / "broken.wav").write_bytes(b"no sound")
    arguments = [
        "--data", str(data_directory), "--audio", str(place / "audio"), "--work", str(place / "work"),
        "--out", str(place / "model"), "--docs", str(place / "docs"), "--folds", "0,1", "--jobs", "1",
    ]  # fmt: skip
    with few_blocks():
        main(arguments)
        yield place, arguments
    patch.undo()


def test_the_model_has_the_outputs_of_both_taxonomies(trained: tuple[Path, list[str]]) -> None:
    place, _ = trained
    card = read_card(place / "model" / "card.json")
    card.require_known_labels()
    assert [head.taxonomy for head in card.heads] == ["world"]
    assert [entry.seconds for entry in card.calibration] == [0.3, 0.5, 1.0, 1.5, 1.55, 3.0, 10.0, 30.0]
    assert [entry.seconds for entry in card.heads[0].calibration] == [0.3, 0.5, 1.0, 1.5, 1.55, 3.0, 10.0, 30.0]
    assert set(card.sure or {}) == {"16", "9", "2"}
    session = onnxruntime.InferenceSession(str(place / "model" / MODEL_FILE))
    for frames in (20, 80):
        logits, world_logits, embedding = session.run(None, {"cqt_db": np.full((3, 84, frames), -30, dtype=np.float32)})
        assert (logits.shape, world_logits.shape) == ((3, 16), (3, 16))
        assert embedding.shape == (3, 384 * len(configuration.RECORDINGS))


def test_the_card_has_the_measures(trained: tuple[Path, list[str]]) -> None:
    place, _ = trained
    card = read_card(place / "model" / "card.json")
    assert {clip.signal for clip in card.golden} == {"chords", "beat"}
    assert sum(card.reference_mix) == pytest.approx(1, abs=1e-3)
    assert (card.reference.recordings, card.reference.artists) == (40, 20)
    assert card.reference.level_dbfs is None  # the same for all clips of this data
    assert 0 <= card.metrics["out_of_fold"]["top1_16"] <= card.metrics["out_of_fold"]["top5_16"]
    assert list(card.metrics["by_seconds"]) == ["0.3", "0.5", "1", "3", "10", "30"]
    assert "Disco" in card.heads[0].notes[2]  # it has four test clips


def test_the_page_has_all_its_pictures(trained: tuple[Path, list[str]]) -> None:
    place, _ = trained
    page = (place / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for name in ("confusion", "lengths", "reliability", "reliability-short", "reliability-world"):
        assert f"](images/evaluation-{name}.png)" in page
        assert (place / "docs" / "images" / f"evaluation-{name}.png").stat().st_size > 5000
    assert page.index("## World genres") > page.index("## Calibration")


def test_finished_runs_are_not_trained_again(trained: tuple[Path, list[str]]) -> None:
    place, arguments = trained
    before = {path: path.stat().st_mtime_ns for path in (place / "work").rglob("*.pt")}
    first = (place / "model" / "card.json").read_bytes()
    exported = set((place / "exported").iterdir())
    main(arguments)
    assert {path: path.stat().st_mtime_ns for path in (place / "work").rglob("*.pt")} == before
    assert len(before) == 3 * len(MEMBERS)
    assert (place / "model" / "card.json").read_bytes() == first
    assert set((place / "exported").iterdir()) == exported


def test_a_run_with_another_configuration_is_not_finished(trained: tuple[Path, list[str]]) -> None:
    place, _ = trained
    name, same = next(iter(configuration.MEMBERS.items()))
    assert runs.is_finished(place / "work" / name, 0, same)
    assert not runs.is_finished(place / "work" / name, 0, replace(same, epochs=3))
    assert not runs.is_finished(place / "work" / name, 3, same)


def test_a_run_does_not_train_on_its_fold(trained: tuple[Path, list[str]]) -> None:
    place, _ = trained
    for name in MEMBERS:
        assert json.loads((place / "work" / name / "fold-0.json").read_text())["clips"] == 32
        assert json.loads((place / "work" / name / "final.json").read_text())["clips"] == 40
