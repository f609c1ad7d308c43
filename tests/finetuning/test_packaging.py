from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ccmusic.errors import ModelRefused, NonFiniteOutput
from ccmusic.finetuning.base_model import BaseModel
from ccmusic.finetuning.excerpts import Excerpt
from ccmusic.finetuning.graph import with_head
from ccmusic.finetuning.packaging import (
    HeldOutResults,
    calibrate_and_measure,
    lowest_threshold,
    mean_probabilities,
    write_model,
)
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.card import read_card
from ccmusic.models.card_parts import Training
from ccmusic.models.non_music_limits import NonMusicLimits
from ccmusic.models.store import ModelLocation

LABELS = ("high", "low", "middle")


def _update(n: int) -> list[Excerpt]:
    return [e for row in range(n) for e in (Excerpt(row, None, 0, 9), Excerpt(row, 0.3, 0, 3))]


def _logits(reference: np.ndarray, short_right: float = 1.0) -> np.ndarray:
    """Of `_update`: the whole ones all right, of the cuts so many."""
    n = len(reference)
    out = np.empty((2 * n, 3))
    out[::2] = np.eye(3)[reference] * 6
    cut_right = np.arange(n) < short_right * n
    out[1::2] = np.eye(3)[np.where(cut_right, reference, (reference + 1) % 3)] * 6
    return out


def _trust(reference: np.ndarray, logits: np.ndarray, window_seconds: float = 10.0, odd: int = 0) -> HeldOutResults:
    """The first so many of the recordings are odd."""
    is_odd = np.arange(len(reference)) < odd
    return calibrate_and_measure(_update(len(reference)), logits, reference, LABELS, window_seconds, is_odd)


def test_a_few_right_answers_do_not_make_probabilities_extreme() -> None:
    tops = []
    for n in (6, 60, 600):
        reference = np.arange(n) % 3
        found = _trust(reference, _logits(reference))
        assert found.measures.top1 == 1.0
        tops.append(1 - found.measures.ece)  # all are right: the gap is to the mean of the largest probability
    assert tops[0] == pytest.approx(7 / 9, abs=0.01)  # (n + 1) / (n + labels)
    assert tops[0] < tops[1] < tops[2] < 1


def test_lengths_with_low_accuracy_are_flagged_as_too_short() -> None:
    reference = np.arange(60) % 3
    found = _trust(reference, _logits(reference, 0.5))
    assert found.top1_by_seconds == {0.3: 0.5, 10.0: 1.0}
    assert found.too_short_below_seconds == 10.0
    assert found.temperatures[0.3] == pytest.approx(5.0, abs=0.01)
    assert found.temperatures[10.0] < 3.0
    assert _trust(reference, _logits(reference)).too_short_below_seconds == 0.3


def test_the_uncertain_threshold_is_above_a_random_guess() -> None:
    assert [lowest_threshold(n) for n in (2, 3, 4, 10, 50)] == [0.5, 0.5, 0.5, 0.2, 0.04]
    reference = np.arange(60) % 3
    assert _trust(reference, _logits(reference)).uncertain_below == 0.5


def test_odd_recordings_count_as_uncertain() -> None:
    reference = np.arange(60) % 3
    found = _trust(reference, _logits(reference), odd=15)
    assert (found.measures.coverage, found.measures.precision) == (0.75, 1.0)


def test_mean_probabilities_are_over_whole_recordings() -> None:
    reference = np.array([0, 0, 0, 1])
    assert mean_probabilities(_update(4), _logits(reference, 0.0), 1.0) == pytest.approx((0.75, 0.25, 0.0), abs=0.01)


def _write(out: Path, start: BaseModel, model: bytes) -> None:
    reference = np.arange(6) % 3
    write_model(
        out,
        model,
        name="mine",
        labels=LABELS,
        start=start,
        found=_trust(reference, _logits(reference), start.card.window_seconds),
        odd_limits=NonMusicLimits().without("noise"),
        reference_mix=(0.4, 0.3, 0.3),
        training=Training(data="few", label_source="yours", method="by hand"),
        metrics={"seconds": 1.0},
    )


def test_the_service_loads_the_written_model(start: BaseModel, tmp_path: Path) -> None:
    model = with_head(start.model, np.random.default_rng(1).normal(size=(3, 168)), np.zeros(3))
    _write(tmp_path / "mine", start, model)
    card = read_card(tmp_path / "mine" / "card.json")
    assert (card.name, card.taxonomy, card.labels) == ("mine", "own", LABELS)
    assert card.window_seconds == start.card.window_seconds
    assert card.metrics["held_out"]["top1"] == 1.0
    assert card.odd == NonMusicLimits().without("noise")
    assert {clip.seconds for clip in card.golden} == {clip.seconds for clip in start.card.golden}
    pipeline = Pipeline.load(ModelLocation("mine", tmp_path / "mine"))
    assert pipeline.card.sha256 == card.sha256
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["card.json", "model.onnx"]


@pytest.mark.parametrize("wrong", ["weights", "promises"])
def test_a_model_that_fails_its_card_replaces_nothing(
    start: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    _write(tmp_path / "mine", start, with_head(start.model, np.ones((3, 168)), np.zeros(3)))
    before = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    weight = np.full((3, 168), np.nan if wrong == "weights" else 2.0)
    if wrong == "promises":
        promised = read_card(tmp_path / "mine" / "card.json").golden
        monkeypatch.setattr("ccmusic.finetuning.packaging._golden", lambda *_: promised)
    with pytest.raises((ModelRefused, NonFiniteOutput)):
        _write(tmp_path / "mine", start, with_head(start.model, weight, np.zeros(3)))
    assert {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
