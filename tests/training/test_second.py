from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile

from ccmusic.models.card import read_card
from ccmusic.training import second, world
from ccmusic.training.configuration import MEMBERS, Configuration
from ccmusic.training.export import MODEL_FILE, export_onnx, write_card
from ccmusic.training.network import GenreNetwork
from ccmusic.training.second_page import MARKER

WORLD_OF = {"Symphony": "Classical", "Solo": "Jazz", "Dance_pop": "Disco", "Soft_rock": "Rock"}


def _first(directory: Path) -> Path:
    """An untrained first network with its card."""
    directory.mkdir()
    export_onnx(GenreNetwork().eval(), directory / MODEL_FILE)
    embedded = read_card(Path(second.__file__).parents[1] / "models" / "embedded" / "card.json")
    fields = ("name", "labels", "window_seconds", "uncertain_below", "calibration", "licence", "training", "metrics")
    write_card(directory, version="1.0.0", description="", **{name: getattr(embedded, name) for name in fields})
    return directory


@pytest.fixture(scope="module")
def made(data_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """One epoch of either network over all folds, by the command line, to a model directory and the page."""
    place = tmp_path_factory.mktemp("second")
    patch = pytest.MonkeyPatch()
    tiny = Configuration(start="scratch", front="mel", stem_stride=(2, 2), epochs=1, seconds=(0.3,), shares=(1.0,))
    patch.setattr(second, "MEMBERS", {name: replace(tiny, seed=seed) for seed, name in enumerate(MEMBERS)})
    lines = [f"{genre}: " + "; ".join(f"artist {fold} {leaf}" for fold in range(5)) for leaf, genre in WORLD_OF.items()]
    (place / "artists.txt").write_text("\n".join(lines))
    patch.setattr(world, "ARTISTS", place / "artists.txt")
    bands = np.abs(np.arange(513)[None, :] - 4 * np.arange(128)[:, None] - 2) < 4
    np.savez(data_directory / "mn04.npz", mel_filters=bands.astype(np.float32))
    (place / "audio").mkdir()
    sound = np.random.default_rng(0).normal(size=12 * 22050) * np.sin(np.arange(12 * 22050) / 5000) * 0.1
    soundfile.write(place / "audio" / "noise.wav", sound, 22050)
    (place / "audio" / "broken.wav").write_bytes(b"no sound")
    arguments = [
        "--data", str(data_directory), "--audio", str(place / "audio"), "--work", str(place / "work"),
        "--long", str(_first(place / "first")), "--out", str(place / "model"), "--docs", str(place / "docs"),
    ]  # fmt: skip
    (place / "docs").mkdir()
    (place / "docs" / "evaluation.md").write_text("The first network.\n")
    second.main(arguments)
    yield place, arguments
    patch.undo()


def test_the_model_answers_for_both_taxonomies_as_its_card_says(made: tuple[Path, list[str]]) -> None:
    place, _ = made
    card = read_card(place / "model" / "card.json")
    card.require_known_labels()
    assert (card.version, [head.taxonomy for head in card.heads]) == ("2.0.0", ["world"])
    assert [entry.window_seconds for entry in card.calibration] == [0.3, 0.5, 1.0, 1.03, 3.0, 10.0]
    session = onnxruntime.InferenceSession(str(place / "model" / MODEL_FILE))
    logits, embedding, world_logits = session.run(None, {"cqt_db": np.full((3, 84, 20), -30, dtype=np.float32)})
    assert (logits.shape, embedding.shape, world_logits.shape) == ((3, 16), (3, 384), (3, 16))


def test_figures_of_the_first_network_stay_and_those_of_short_sounds_are_new(made: tuple[Path, list[str]]) -> None:
    place, _ = made
    before, after = (read_card(place / name / "card.json").metrics for name in ("first", "model"))
    assert after["out_of_fold"] == before["out_of_fold"]
    assert after["top1_16_by_seconds"]["3"] == before["top1_16_by_seconds"]["3"]
    assert after["top1_16_by_seconds"]["0.3"] == after["short"]["0.3"]["top1_16"]


def test_the_page_is_appended_to_once_and_finished_runs_are_taken_up(made: tuple[Path, list[str]]) -> None:
    place, arguments = made
    first = (place / "model" / "card.json").read_bytes()
    trained = {path: path.stat().st_mtime_ns for path in (place / "work").rglob("*.pt")}
    second.main(arguments)
    page = (place / "docs" / "evaluation.md").read_text()
    assert page.startswith("The first network.")
    assert page.count(MARKER) == 1
    assert {path: path.stat().st_mtime_ns for path in (place / "work").rglob("*.pt")} == trained
    assert len(trained) == 12
    assert (place / "model" / "card.json").read_bytes() == first


def test_no_run_has_trained_on_its_fold(made: tuple[Path, list[str]]) -> None:
    place, _ = made
    assert json.loads((place / "work" / "short" / "fold-0.json").read_text())["clips"] == 32
    assert json.loads((place / "work" / "short" / "final.json").read_text())["clips"] == 40
