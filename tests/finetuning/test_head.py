from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ccmusic.finetuning.early_stopping import balanced_log_loss
from ccmusic.finetuning.head import Examples, Head, fit_head
from ccmusic.finetuning.plan import Plan
from ccmusic.inference.aggregate import softmax

pytest.importorskip("sklearn")


def _examples(n: int, seed: int) -> Examples:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, n)
    centres = np.array([[0.0, 0, 0, 5], [1, 0, 0, 5], [0, 20, 0, 5]])
    embeddings = centres[labels] + generator.normal(size=(n, 4)) * [1, 20, 1, 0]  # the last channel is dead
    return Examples(embeddings, labels, np.ones(n))


LEARNT, HELD = _examples(600, 1), _examples(300, 2)


def _judge(head: Head) -> float:
    return balanced_log_loss(HELD.labels, softmax(head.logits(HELD.embeddings)))


def test_the_head_equals_sklearns_regression(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    reference = LogisticRegression(C=1.0, max_iter=2000)
    scale = np.maximum(LEARNT.embeddings.std(axis=0), 0.01)
    reference.fit(LEARNT.embeddings / scale, LEARNT.labels)
    expected = reference.predict_proba(HELD.embeddings / scale)
    head, _ = fit_head(LEARNT, _judge, 3, Plan(epochs=60, patience=60), tmp_path / "head.npz")
    found = softmax(head.logits(HELD.embeddings))
    assert np.abs(found - expected).mean() < 0.02
    assert _judge(head) == pytest.approx(balanced_log_loss(HELD.labels, expected), abs=0.02)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    at_once, stopping = fit_head(LEARNT, _judge, 3, Plan(epochs=9), tmp_path / "at once.npz")
    fit_head(LEARNT, _judge, 3, Plan(epochs=4), tmp_path / "twice.npz")
    epochs: list[int] = []
    twice, stopping_twice = fit_head(
        LEARNT, _judge, 3, Plan(epochs=9), tmp_path / "twice.npz", lambda c: epochs.append(c.epochs)
    )
    assert epochs == [5, 6, 7, 8, 9]
    assert stopping_twice.losses == stopping.losses
    np.testing.assert_array_equal(twice.weight, at_once.weight)
    np.testing.assert_array_equal(twice.bias, at_once.bias)


def test_the_best_head_is_returned_not_the_last(tmp_path: Path) -> None:
    script = iter([1.0, 0.5, 0.7, 0.8, 0.9])
    heads: list[Head] = []

    def judge(head: Head) -> float:
        heads.append(head)
        return next(script)

    head, stopping = fit_head(LEARNT, judge, 3, Plan(epochs=50, patience=3), tmp_path / "head.npz")
    assert stopping.losses == [1.0, 0.5, 0.7, 0.8, 0.9]
    np.testing.assert_array_equal(head.weight, heads[1].weight)


def test_examples_of_weight_0_have_no_effect(tmp_path: Path) -> None:
    weights = np.where(LEARNT.labels == 0, 0.0, 1.0)
    heads = []
    for name, claimed in (("true", 0), ("false", 1)):
        labels = np.where(LEARNT.labels == 0, claimed, LEARNT.labels)
        examples = Examples(LEARNT.embeddings, labels, weights)
        heads.append(fit_head(examples, _judge, 3, Plan(epochs=2), tmp_path / f"{name}.npz")[0])
    np.testing.assert_array_equal(heads[0].weight, heads[1].weight)
    assert heads[0].weight.any()


def test_another_seed_gives_another_order(tmp_path: Path) -> None:
    heads = [fit_head(LEARNT, _judge, 3, Plan(epochs=2, seed=s), tmp_path / f"{s}.npz")[0] for s in (1, 2)]
    assert not np.array_equal(heads[0].weight, heads[1].weight)
