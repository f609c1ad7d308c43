from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ccmusic.training import heads
from ccmusic.training.data import Dataset, load
from ccmusic.training.distil import fit_probe
from ccmusic.training.heads import RECORDINGS_C, fit_layer, out_of_fold, recordings_layer, side_by_side
from ccmusic.training.members import LONG_SECONDS, SHORT_SECONDS
from ccmusic.training.network import EMBEDDING_SIZE


@pytest.fixture(scope="module")
def dataset(data_directory: Path) -> Dataset:
    return load(data_directory)


def _clips(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(48) % 4
    embedded = np.random.default_rng(seed).normal(size=(48, 6)) * [1, 1, 1, 1, 5, 0]
    embedded[np.arange(48), labels] += 2
    return embedded, labels


def test_a_layer_is_the_regression_on_standardised_embeddings() -> None:
    embedded, labels = _clips()
    weight, bias = fit_layer(embedded, labels, RECORDINGS_C)
    expected = fit_probe(embedded[:, :5], labels, RECORDINGS_C).decision_function(embedded[:, :5])
    given = (embedded @ weight.T + bias)[:, :4]
    assert given - given.mean(axis=1, keepdims=True) == pytest.approx(
        expected - expected.mean(axis=1, keepdims=True), abs=0.01
    )
    assert np.ptp(expected) > 0.5


def test_a_class_without_clips_is_never_named() -> None:
    embedded, labels = _clips()
    weight, bias = fit_layer(embedded, labels, RECORDINGS_C)
    assert (embedded @ weight.T + bias).argmax(axis=1).max() < 4
    assert (weight[4:] == weight[4]).all()


def test_a_crop_of_many_counts_as_little_as_its_share() -> None:
    embedded, labels = _clips()
    thrice = fit_layer(np.repeat(embedded, 3, axis=0), np.repeat(labels, 3), RECORDINGS_C, share=1 / 3)
    assert thrice[0] == pytest.approx(fit_layer(embedded, labels, RECORDINGS_C)[0], abs=1e-3)


def test_layers_side_by_side_give_the_mean_of_their_logits() -> None:
    (a, labels), (b, _) = _clips(0), _clips(1)
    one, other = fit_layer(a, labels, 0.01), fit_layer(b, labels, 0.01)
    weight, bias = side_by_side([one, other])
    expected = (a @ one[0].T + one[1] + b @ other[0].T + other[1]) / 2
    assert np.concatenate([a, b], axis=1) @ weight.T + bias == pytest.approx(expected)


def _embedded(work: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings of one network for recordings and one for short sounds, that tell the label."""
    monkeypatch.setattr(heads, "RECORDINGS", {"long": None})
    monkeypatch.setattr(heads, "SHORT", {"brief": None})
    generator = np.random.default_rng(3)
    for name, lengths in (("long", (*LONG_SECONDS, 30.0)), ("brief", SHORT_SECONDS)):
        (work / name).mkdir(parents=True)
        for fold in (0, 4):
            value = generator.normal(size=(len(dataset), 3, EMBEDDING_SIZE)) * 0.1
            value[np.arange(len(dataset)), :, dataset.label] += 1
            value[:, 2] = np.nan if name == "long" else value[:, 2]
            arrays = {str(seconds): value.astype(np.float16) for seconds in lengths}
            np.savez(work / name / f"fold-{fold}.npz", **arrays)


def test_out_of_fold_means_every_known_clip_of_the_folds_once(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    _embedded(tmp_path, dataset, monkeypatch)
    found = out_of_fold(tmp_path, dataset, [0, 4])
    known = ~dataset.allowed.all(axis=1)
    assert sorted(found.rows) == np.flatnonzero(np.isin(dataset.fold, [0, 4]) & known).tolist()
    assert not known[dataset.fold == 4].all()
    assert {seconds: value.shape[1:] for seconds, value in found.logits.items()} == {
        **dict.fromkeys((*SHORT_SECONDS, *LONG_SECONDS), (3, 1, 16)),
        30.0: (1, 3, 16),
    }
    assert np.isnan(found.logits[30.0][:, :, 2]).all()


def test_a_layer_knows_nothing_of_the_fold_that_is_held_out(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    _embedded(tmp_path, dataset, monkeypatch)
    before = recordings_layer(tmp_path, dataset, 0)
    changed = dataset.label.copy()
    changed[dataset.fold == 0] = 7
    after = recordings_layer(tmp_path, Dataset(**{**vars(dataset), "label": changed}), 0)
    assert np.array_equal(before[0], after[0])
