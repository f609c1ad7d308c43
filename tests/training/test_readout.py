from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ccmusic.training.data import Dataset, load
from ccmusic.training.distil import fit_probe
from ccmusic.training.network import GenreNetwork
from ccmusic.training.readout import READOUT_C, blended, track_embedding


@pytest.fixture(scope="module")
def dataset(data_directory: Path) -> Dataset:
    return load(data_directory)


@pytest.fixture(scope="module")
def network(dataset: Dataset) -> GenreNetwork:
    """Random convolutions with fitting statistics, so that clips differ in their embeddings."""
    torch.manual_seed(3)
    network = GenreNetwork()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.inference_mode():
        network.embed(torch.from_numpy(np.stack([dataset.cqt_db(clip)[:, :60] for clip in range(16)])))
    return network.eval()


def _logits(network: GenreNetwork, dataset: Dataset, clip: int) -> np.ndarray:
    with torch.inference_mode():
        embedding = torch.from_numpy(track_embedding(network, dataset.cqt_db(clip)))
        return network.head(embedding).numpy()


def test_the_whole_share_is_the_regression(network: GenreNetwork, dataset: Dataset) -> None:
    rows, test = dataset.split(0)
    served = blended(network, dataset, rows, 1.0, balance=0.0)
    labelled = rows[dataset.label[rows] >= 0]
    embeddings = np.stack([track_embedding(network, dataset.cqt_db(clip)) for clip in labelled])
    probe = fit_probe(embeddings, dataset.label[labelled], READOUT_C)
    clip = int(test[3])
    expected = probe.decision_function(track_embedding(network, dataset.cqt_db(clip))[None])[0]
    given = _logits(served, dataset, clip)[probe.classes_]
    np.testing.assert_allclose(given - given.mean(), expected - expected.mean(), atol=1e-4)
    assert np.ptp(expected) > 0.05


def test_half_a_share_lies_halfway(network: GenreNetwork, dataset: Dataset) -> None:
    rows, test = dataset.split(0)
    clip = int(test[0])
    whole, half, none = (_logits(blended(network, dataset, rows, share), dataset, clip) for share in (1.0, 0.5, 0.0))
    np.testing.assert_allclose(half, (whole + none - none.mean()) / 2, atol=1e-4)
    np.testing.assert_array_equal(none, _logits(network, dataset, clip))


def test_the_trained_network_is_left_as_it_was(network: GenreNetwork, dataset: Dataset) -> None:
    before = network.head.weight.clone()
    served = blended(network, dataset, dataset.split(1)[0], 0.5)
    assert torch.equal(network.head.weight, before)
    assert not torch.equal(served.head.weight, before)
