from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ccmusic.training import heads
from ccmusic.training.data import Dataset, load
from ccmusic.training.heads import out_of_fold, recordings_layer
from ccmusic.training.network import EMBEDDING_SIZE
from ccmusic.training.runs import LONG_SECONDS, SHORT_SECONDS


@pytest.fixture(scope="module")
def dataset(data_directory: Path) -> Dataset:
    return load(data_directory)


def _embedded(work: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write embeddings that depend on the label: of one network for recordings and one for short sounds."""
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


def test_out_of_fold_logits_are_of_each_known_clip_once(
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


def test_a_head_does_not_use_the_labels_of_the_held_out_fold(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    _embedded(tmp_path, dataset, monkeypatch)
    before = recordings_layer(tmp_path, dataset, 0)
    changed = dataset.label.copy()
    changed[dataset.fold == 0] = 7
    after = recordings_layer(tmp_path, Dataset(**{**vars(dataset), "label": changed}), 0)
    assert np.array_equal(before[0], after[0])
