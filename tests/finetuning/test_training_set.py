from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ccmusic.audio.decode import DecodeLimits
from ccmusic.errors import InvalidParameter
from ccmusic.evaluation.labelled_data import LabelledData, read_labelled
from ccmusic.finetuning.base_model import BaseModel
from ccmusic.finetuning.plan import Plan
from ccmusic.finetuning.training_set import TrainingSet, read_training_set


def _gather(root: Path, start: BaseModel) -> TrainingSet:
    return read_training_set(read_labelled(root), start.card, Plan(), root / ".kept", jobs=1, limits=DecodeLimits())


def test_an_artist_of_each_label_is_held_out(training_set: TrainingSet) -> None:
    assert training_set.labels == ("high", "low", "middle")
    assert np.bincount(training_set.reference[training_set.held]).tolist() == [2, 2, 2]
    artists = np.array([recording.artist for recording in training_set.data.recordings])
    assert not set(artists[training_set.held]) & set(artists[~training_set.held])
    assert training_set.refused == {}


def test_labels_have_equal_weights_and_recordings_within_a_label_too(training_set: TrainingSet) -> None:
    weights, rows = training_set.weights(), training_set.rows
    trained_on = [row for row in range(len(training_set.held)) if not training_set.held[row]]
    by_recording = np.array([weights[rows == row].sum() for row in trained_on])
    np.testing.assert_allclose(by_recording, by_recording[0])
    row = trained_on[0]
    short = np.array([excerpt.seconds is not None for excerpt in training_set.excerpts])
    assert weights[(rows == row) & short].sum() == pytest.approx(0.3 * by_recording[0])
    assert weights[~training_set.is_held].mean() == pytest.approx(1.0)


def test_rare_labels_have_the_same_weight(tones: Path, start: BaseModel, tmp_path: Path) -> None:
    root = tmp_path / "music"
    shutil.copytree(tones / "low", root / "low")
    for artist in ("high 0", "high 1"):
        shutil.copytree(tones / "high" / artist, root / "high" / artist)
    training_set = _gather(root, start)
    weights, labels = (
        training_set.weights()[~training_set.is_held],
        training_set.reference[training_set.rows[~training_set.is_held]],
    )
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())


def test_copies_are_left_out_and_reported(tones: Path, start: BaseModel, tmp_path: Path) -> None:
    root = tmp_path / "music"
    for label in ("low", "high"):
        shutil.copytree(tones / label, root / label)
    (root / "low" / "somebody else").mkdir()
    shutil.copy(root / "low" / "low 0" / "0.wav", root / "low" / "somebody else")
    training_set = _gather(root, start)
    assert len(training_set.data) == 20
    assert any("1 recordings are byte-identical copies" in note for note in training_set.notes)


def test_broken_files_are_left_out(tones: Path, start: BaseModel, tmp_path: Path) -> None:
    root = tmp_path / "music"
    for label in ("low", "high"):
        shutil.copytree(tones / label, root / label)
    broken = root / "low" / "low 0" / "broken.wav"
    broken.write_bytes(b"no recording")
    training_set = _gather(root, start)
    assert list(training_set.refused) == [broken]
    assert len(training_set.data) == len(training_set.spectrograms) == 20


def test_a_single_label_is_refused(tones: Path, start: BaseModel, tmp_path: Path) -> None:
    shutil.copytree(tones / "low", tmp_path / "low")
    with pytest.raises(InvalidParameter, match="at least two labels, not only of 'low'"):
        _gather(tmp_path, start)
    (tmp_path / "high").mkdir()
    (tmp_path / "high" / "broken.wav").write_bytes(b"no recording")
    with pytest.raises(InvalidParameter, match="at least two labels, not only of 'low'"):
        _gather(tmp_path, start)


def test_few_or_no_held_out_recordings_are_reported(tones: Path, start: BaseModel, tmp_path: Path) -> None:
    shutil.copytree(tones / "low", tmp_path / "low")
    shutil.copytree(tones / "high" / "high 0", tmp_path / "high" / "high 0")
    notes = _gather(tmp_path, start).notes
    assert any("high: no recording is held out, because one artist has them all" in note for note in notes)
    assert any("few recordings are held out of low (2)" in note for note in notes)


def test_the_loss_is_of_whole_recordings(training_set: TrainingSet) -> None:
    excerpts = training_set.held_out_excerpts
    right = np.array([np.eye(3)[training_set.reference[excerpt.row]] for excerpt in excerpts]) * 8
    assert training_set.judge(excerpts, right) < 0.01
    wrong_when_cut = np.where([[excerpt.seconds is None] for excerpt in excerpts], right, -right)
    assert training_set.judge(excerpts, wrong_when_cut) == training_set.judge(excerpts, right)
    assert training_set.judge(excerpts, np.zeros_like(right)) == pytest.approx(np.log(3))


def test_the_fingerprint_covers_what_changes_the_result(training_set: TrainingSet, start: BaseModel) -> None:
    own = training_set.fingerprint(start.card, Plan())
    assert own == training_set.fingerprint(start.card, Plan(epochs=7, patience=2))
    assert own != training_set.fingerprint(start.card, Plan(tune="all"))
    assert own != training_set.fingerprint(start.card, Plan(seed=2))
    assert own != training_set.fingerprint(start.card.model_copy(update={"sha256": "0" * 64}), Plan())
    for change in (
        {"spectrograms": training_set.spectrograms[::-1]},
        {"held": ~training_set.held},
        {"labels": ("a", "b", "c")},
    ):
        assert own != replace(training_set, **change).fingerprint(start.card, Plan())


def test_held_out_are_listed_for_evaluate(training_set: TrainingSet, tmp_path: Path) -> None:
    recordings = tuple(
        replace(r, columns={"path": "its own", "decade": r.path.stem}) for r in training_set.data.recordings
    )
    replace(training_set, data=LabelledData(recordings)).write_held_out(tmp_path / "held-out.csv")
    listed = read_labelled(tmp_path / "held-out.csv").recordings
    expected = [r for r, held in zip(recordings, training_set.held, strict=True) if held]
    assert [(r.path, r.label, r.artist) for r in listed] == [(r.path, r.label, r.artist) for r in expected]
    assert [r.columns["decade"] for r in listed] == [r.columns["decade"] for r in expected]
