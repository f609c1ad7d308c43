from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ccmusic.errors import DependencyUnavailable
from ccmusic.finetuning.base_model import Start
from ccmusic.finetuning.early_stopping import EarlyStopping
from ccmusic.finetuning.excerpts import ask
from ccmusic.finetuning.graph import with_head
from ccmusic.finetuning.plan import Plan
from ccmusic.finetuning.training_set import TrainingSet
from ccmusic.inference.onnx_runtime import OnnxBackend

torch = pytest.importorskip("torch")

from ccmusic.finetuning import all_weights as whole  # noqa: E402
from ccmusic.finetuning.all_weights import batches, torch_device, tune_whole  # noqa: E402


@pytest.fixture
def model(start: Start) -> bytes:
    """The start model with a head that knows nothing."""
    return with_head(start.model, np.zeros((3, 168)), np.zeros(3))


def _loss(model: bytes, material: TrainingSet) -> float:
    shown = [excerpt for excerpt in material.held_shown if excerpt.seconds is None]
    return material.judge(shown, ask(OnnxBackend(model, 3).logits, shown, material.kept, lambda _: None))


def test_it_learns_and_the_best_is_given(
    model: bytes, material: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "HEAD_LEARNING_RATE", 3e-3)
    tuned, course = tune_whole(model, material, Plan("all", epochs=6), tmp_path / "all.pt")
    assert course.losses[0] == pytest.approx(np.log(3))
    assert course.losses[course.best] < 0.8
    assert _loss(tuned, material) == pytest.approx(course.losses[course.best], abs=1e-3)


def test_an_interrupted_run_is_gone_on_with(model: bytes, material: TrainingSet, tmp_path: Path) -> None:
    at_once, course = tune_whole(model, material, Plan("all", epochs=3), tmp_path / "at once.pt")

    def stop(course: EarlyStopping) -> None:
        if course.passes == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_whole(model, material, Plan("all", epochs=3), tmp_path / "twice.pt", on_pass=stop)
    passes: list[int] = []
    twice, course_twice = tune_whole(
        model, material, Plan("all", epochs=3), tmp_path / "twice.pt", on_pass=lambda c: passes.append(c.passes)
    )
    assert passes == [3]
    assert course_twice.losses == course.losses
    assert twice == at_once


def test_what_no_pass_makes_better_stays(
    model: bytes, material: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.1, 0.2, 0.3, 0.4])
    monkeypatch.setattr(whole, "_judge", lambda *_: next(losses))
    tuned, course = tune_whole(model, material, Plan("all", epochs=9, patience=2), tmp_path / "all.pt")
    assert (course.passes, course.best) == (2, 0)
    pictures = np.random.default_rng(1).uniform(-80, 0, (2, 84, 40)).astype(np.float32)
    np.testing.assert_array_equal(OnnxBackend(tuned, 3).logits(pictures), OnnxBackend(model, 3).logits(pictures))


def test_crops_are_of_what_is_learnt_from_alone(material: TrainingSet) -> None:
    drawn = list(batches(material, np.random.default_rng(4)))
    labels = np.concatenate([labels for _, labels, _ in drawn])
    # recordings of 1.4 s have one window of 2 s, and those of 2.6 s two
    assert np.bincount(labels).tolist() == [4 * 1 + 4 * 2] * 3
    assert all(len(pictures) == len(ys) == len(weights) <= 16 for pictures, ys, weights in drawn)
    assert all(pictures.dtype == np.float32 and pictures.min() >= -80 and pictures.max() <= 0 for pictures, *_ in drawn)
    assert {weight for _, _, weights in drawn for weight in weights} == {1.0}


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto") == torch_device("cpu") == "cpu"
    with pytest.raises(DependencyUnavailable, match="CCMUSIC_DEVICE=cpu"):
        torch_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (torch_device("auto"), torch_device("cpu"), torch_device("cuda")) == ("cuda", "cpu", "cuda")
