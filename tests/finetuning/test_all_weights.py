from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ccmusic.errors import DependencyUnavailable
from ccmusic.finetuning.base_model import BaseModel
from ccmusic.finetuning.early_stopping import EarlyStopping
from ccmusic.finetuning.excerpts import run_network
from ccmusic.finetuning.graph import with_head
from ccmusic.finetuning.plan import Plan
from ccmusic.finetuning.training_set import TrainingSet
from ccmusic.inference.onnx_runtime import OnnxBackend

torch = pytest.importorskip("torch")

from ccmusic.finetuning import all_weights as whole  # noqa: E402
from ccmusic.finetuning.all_weights import batches, torch_device, tune_all_weights  # noqa: E402


@pytest.fixture
def model(start: BaseModel) -> bytes:
    """The start model with a head that knows nothing."""
    return with_head(start.model, np.zeros((3, 168)), np.zeros(3))


def _loss(model: bytes, training_set: TrainingSet) -> float:
    excerpts = [excerpt for excerpt in training_set.held_out_excerpts if excerpt.seconds is None]
    return training_set.judge(
        excerpts, run_network(OnnxBackend(model, 3).logits, excerpts, training_set.spectrograms, lambda _: None)
    )


def test_the_loss_falls_and_the_best_network_is_returned(
    model: bytes, training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "HEAD_LEARNING_RATE", 3e-3)
    tuned, stopping = tune_all_weights(model, training_set, Plan("all", epochs=6), tmp_path / "all.pt")
    assert stopping.losses[0] == pytest.approx(np.log(3))
    assert stopping.losses[stopping.best] < 0.8
    assert _loss(tuned, training_set) == pytest.approx(stopping.losses[stopping.best], abs=1e-3)


def test_a_resumed_run_equals_an_uninterrupted_one(model: bytes, training_set: TrainingSet, tmp_path: Path) -> None:
    at_once, stopping = tune_all_weights(model, training_set, Plan("all", epochs=3), tmp_path / "at once.pt")

    def stop(stopping: EarlyStopping) -> None:
        if stopping.epochs == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_all_weights(model, training_set, Plan("all", epochs=3), tmp_path / "twice.pt", on_epoch=stop)
    epochs: list[int] = []
    twice, stopping_twice = tune_all_weights(
        model, training_set, Plan("all", epochs=3), tmp_path / "twice.pt", on_epoch=lambda c: epochs.append(c.epochs)
    )
    assert epochs == [3]
    assert stopping_twice.losses == stopping.losses
    assert twice == at_once


def test_the_given_network_stays_when_no_epoch_lowers_the_loss(
    model: bytes, training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.1, 0.2, 0.3, 0.4])
    monkeypatch.setattr(whole, "_judge", lambda *_: next(losses))
    tuned, stopping = tune_all_weights(model, training_set, Plan("all", epochs=9, patience=2), tmp_path / "all.pt")
    assert (stopping.epochs, stopping.best) == (2, 0)
    pictures = np.random.default_rng(1).uniform(-80, 0, (2, 84, 40)).astype(np.float32)
    np.testing.assert_array_equal(OnnxBackend(tuned, 3).logits(pictures), OnnxBackend(model, 3).logits(pictures))


def test_crops_are_of_training_recordings_only(training_set: TrainingSet) -> None:
    drawn = list(batches(training_set, np.random.default_rng(4)))
    labels = np.concatenate([labels for _, labels, _ in drawn])
    # recordings of 1.4 s have one window of 2 s, and those of 2.6 s two
    assert np.bincount(labels).tolist() == [4 * 1 + 4 * 2] * 3
    assert all(len(pictures) == len(ys) == len(weights) <= 16 for pictures, ys, weights in drawn)
    assert all(pictures.dtype == np.float32 and pictures.min() >= -80 and pictures.max() <= 0 for pictures, *_ in drawn)
    assert {weight for _, _, weights in drawn for weight in weights} == {1.0}


def test_a_missing_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto") == torch_device("cpu") == "cpu"
    with pytest.raises(DependencyUnavailable, match="CCMUSIC_DEVICE=cpu"):
        torch_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (torch_device("auto"), torch_device("cpu"), torch_device("cuda")) == ("cuda", "cpu", "cuda")
