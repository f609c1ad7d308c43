from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ccmusic.audio.decode import DecodeLimits
from ccmusic.errors import InvalidParameter
from ccmusic.evaluation.labelled_data import LabelledData, read_labelled
from ccmusic.finetuning.base_model import Start
from ccmusic.finetuning.plan import Plan
from ccmusic.finetuning.training_set import TrainingSet, gather


def _gather(root: Path, start: Start) -> TrainingSet:
    return gather(read_labelled(root), start.card, Plan(), root / ".kept", jobs=1, limits=DecodeLimits())


def test_an_artist_of_each_label_is_held_out(material: TrainingSet) -> None:
    assert material.labels == ("high", "low", "middle")
    assert np.bincount(material.reference[material.held]).tolist() == [2, 2, 2]
    artists = np.array([recording.artist for recording in material.data.recordings])
    assert not set(artists[material.held]) & set(artists[~material.held])
    assert material.refused == {}


def test_labels_weigh_alike_and_so_do_recordings(material: TrainingSet) -> None:
    weights, rows = material.weights(), material.rows
    learnt = [row for row in range(len(material.held)) if not material.held[row]]
    by_recording = np.array([weights[rows == row].sum() for row in learnt])
    np.testing.assert_allclose(by_recording, by_recording[0])
    row = learnt[0]
    short = np.array([excerpt.seconds is not None for excerpt in material.shown])
    assert weights[(rows == row) & short].sum() == pytest.approx(0.3 * by_recording[0])
    assert weights[~material.is_held].mean() == pytest.approx(1.0)


def test_rare_labels_weigh_as_much(tones: Path, start: Start, tmp_path: Path) -> None:
    root = tmp_path / "music"
    shutil.copytree(tones / "low", root / "low")
    for artist in ("high 0", "high 1"):
        shutil.copytree(tones / "high" / artist, root / "high" / artist)
    material = _gather(root, start)
    weights, labels = material.weights()[~material.is_held], material.reference[material.rows[~material.is_held]]
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())


def test_copies_are_left_out_and_told(tones: Path, start: Start, tmp_path: Path) -> None:
    root = tmp_path / "music"
    for label in ("low", "high"):
        shutil.copytree(tones / label, root / label)
    (root / "low" / "somebody else").mkdir()
    shutil.copy(root / "low" / "low 0" / "0.wav", root / "low" / "somebody else")
    material = _gather(root, start)
    assert len(material.data) == 20
    assert any("1 recordings are copies" in note for note in material.notes)


def test_broken_files_are_left_out(tones: Path, start: Start, tmp_path: Path) -> None:
    root = tmp_path / "music"
    for label in ("low", "high"):
        shutil.copytree(tones / label, root / label)
    broken = root / "low" / "low 0" / "broken.wav"
    broken.write_bytes(b"no recording")
    material = _gather(root, start)
    assert list(material.refused) == [broken]
    assert len(material.data) == len(material.kept) == 20


def test_a_single_label_is_refused(tones: Path, start: Start, tmp_path: Path) -> None:
    shutil.copytree(tones / "low", tmp_path / "low")
    with pytest.raises(InvalidParameter, match="two labels or more, and has only 'low'"):
        _gather(tmp_path, start)
    (tmp_path / "high").mkdir()
    (tmp_path / "high" / "broken.wav").write_bytes(b"no recording")
    with pytest.raises(InvalidParameter, match="two labels or more, and has only 'low'"):
        _gather(tmp_path, start)


def test_few_held_out_and_none_held_out_are_told(tones: Path, start: Start, tmp_path: Path) -> None:
    shutil.copytree(tones / "low", tmp_path / "low")
    shutil.copytree(tones / "high" / "high 0", tmp_path / "high" / "high 0")
    notes = _gather(tmp_path, start).notes
    assert any("no recording is held out of high, each the work of one artist" in note for note in notes)
    assert any("few recordings are held out of low (2)" in note for note in notes)


def test_the_loss_is_of_whole_recordings(material: TrainingSet) -> None:
    shown = material.held_shown
    right = np.array([np.eye(3)[material.reference[excerpt.row]] for excerpt in shown]) * 8
    assert material.judge(shown, right) < 0.01
    wrong_when_cut = np.where([[excerpt.seconds is None] for excerpt in shown], right, -right)
    assert material.judge(shown, wrong_when_cut) == material.judge(shown, right)
    assert material.judge(shown, np.zeros_like(right)) == pytest.approx(np.log(3))


def test_fingerprint_is_of_what_decides(material: TrainingSet, start: Start) -> None:
    own = material.fingerprint(start.card, Plan())
    assert own == material.fingerprint(start.card, Plan(epochs=7, patience=2))
    assert own != material.fingerprint(start.card, Plan(tune="all"))
    assert own != material.fingerprint(start.card, Plan(seed=2))
    assert own != material.fingerprint(start.card.model_copy(update={"sha256": "0" * 64}), Plan())
    for change in ({"kept": material.kept[::-1]}, {"held": ~material.held}, {"labels": ("a", "b", "c")}):
        assert own != replace(material, **change).fingerprint(start.card, Plan())


def test_held_out_are_listed_for_evaluate(material: TrainingSet, tmp_path: Path) -> None:
    recordings = tuple(replace(r, columns={"path": "its own", "decade": r.path.stem}) for r in material.data.recordings)
    replace(material, data=LabelledData(recordings)).write_held_out(tmp_path / "held-out.csv")
    listed = read_labelled(tmp_path / "held-out.csv").recordings
    expected = [r for r, held in zip(recordings, material.held, strict=True) if held]
    assert [(r.path, r.label, r.artist) for r in listed] == [(r.path, r.label, r.artist) for r in expected]
    assert [r.columns["decade"] for r in listed] == [r.columns["decade"] for r in expected]
