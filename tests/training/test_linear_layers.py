from __future__ import annotations

import numpy as np
import pytest

from ccmusic.training.linear_layers import fit_layer, fit_soft_layer, side_by_side
from ccmusic.training.teachers import fit_probe

C = 0.01


def _clips(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(48) % 4
    embedded = np.random.default_rng(seed).normal(size=(48, 6)) * [1, 1, 1, 1, 5, 0]
    embedded[np.arange(48), labels] += 2
    return embedded, labels


def test_a_layer_is_the_regression_on_standardised_embeddings() -> None:
    embedded, labels = _clips()
    weight, bias = fit_layer(embedded, labels, C)
    expected = fit_probe(embedded[:, :5], labels, C).decision_function(embedded[:, :5])
    given = (embedded @ weight.T + bias)[:, :4]
    assert given - given.mean(axis=1, keepdims=True) == pytest.approx(
        expected - expected.mean(axis=1, keepdims=True), abs=0.01
    )
    assert np.ptp(expected) > 0.5


def test_a_class_without_clips_is_never_the_answer() -> None:
    embedded, labels = _clips()
    weight, bias = fit_layer(embedded, labels, C)
    assert (embedded @ weight.T + bias).argmax(axis=1).max() < 4
    assert (weight[4:] == weight[4]).all()


def test_the_share_divides_the_weight_of_a_clip_among_its_crops() -> None:
    embedded, labels = _clips()
    thrice = fit_layer(np.repeat(embedded, 3, axis=0), np.repeat(labels, 3), C, share=1 / 3)
    assert thrice[0] == pytest.approx(fit_layer(embedded, labels, C)[0], abs=1e-3)


def test_layers_side_by_side_give_the_mean_of_their_logits() -> None:
    (a, labels), (b, _) = _clips(0), _clips(1)
    one, other = fit_layer(a, labels, 0.01), fit_layer(b, labels, 0.01)
    weight, bias = side_by_side([one, other])
    expected = (a @ one[0].T + one[1] + b @ other[0].T + other[1]) / 2
    assert np.concatenate([a, b], axis=1) @ weight.T + bias == pytest.approx(expected)


def test_a_soft_layer_separates_the_classes_and_is_centred() -> None:
    generator = np.random.default_rng(0)
    genre = np.arange(320) % 16
    embeddings = generator.normal(size=(320, 24)) * 0.1
    embeddings[np.arange(320), genre] += 1
    weight, bias = fit_soft_layer(embeddings, np.eye(16)[genre])
    assert ((embeddings @ weight.T + bias).argmax(axis=1) == genre).mean() > 0.95
    assert weight.sum(axis=0) == pytest.approx(0, abs=1e-4)
