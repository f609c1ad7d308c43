"""The served head: halfway between the head that was distilled and a logistic regression on the finished embedding.

The distilled head follows soft targets and crops of every length; the regression sees only known labels and whole
tracks, and has a penalty fit for so few. Both are linear in the embedding, so their mean is one layer.
"""

from __future__ import annotations

import copy

import numpy as np
import torch

from ccmusic.genres import LABELS
from ccmusic.training.data import Dataset, class_weights
from ccmusic.training.distil import fit_regression
from ccmusic.training.evaluate import track_windows
from ccmusic.training.network import GenreNetwork

READOUT_C = 0.01
"""Inverse strength of the regression's L2 penalty."""
LEAST_SCALE = 0.01
"""Least standard deviation to divide by: a dead channel must not turn rounding errors into logits."""
UNSEEN_LOGIT = -8.0
"""Before centring, for a class without a training clip."""


def track_embedding(network: GenreNetwork, cqt_db: np.ndarray) -> np.ndarray:
    """Mean embedding over a track's windows, [shape=(EMBEDDING_SIZE,)]."""
    with torch.inference_mode():
        embedding = network.embed(torch.from_numpy(np.ascontiguousarray(track_windows(cqt_db))))
        return np.asarray(embedding.mean(dim=0))


def blended(
    network: GenreNetwork, dataset: Dataset, rows: np.ndarray, share: float, balance: float = 0.5
) -> GenreNetwork:
    """Copy a network and blend its head with a logistic regression.

    Parameters
    ----------
    network : GenreNetwork
        Trained, in evaluation mode.
    dataset : Dataset
    rows : np.ndarray [shape=(n,)]
        The clips that it was trained on; the labelled ones are used.
    share : float
        Of the regression in the blend; 0 leaves the head as it is.
    balance : float
        Exponent of the inverse class frequency in the regression.

    Returns
    -------
    GenreNetwork
    """
    served = copy.deepcopy(network)
    if share == 0:
        return served
    labelled = rows[dataset.label[rows] >= 0]
    embeddings = np.stack([track_embedding(network, dataset.cqt_db(clip)) for clip in labelled])
    mean, scale = embeddings.mean(axis=0), np.maximum(embeddings.std(axis=0), LEAST_SCALE)
    labels = dataset.label[labelled]
    regression = fit_regression((embeddings - mean) / scale, labels, READOUT_C, class_weights(labels, balance)[labels])

    # the standardisation folds into the regression's weights, and both into the linear layer
    weight = np.zeros((len(LABELS), embeddings.shape[1]))
    bias = np.full(len(LABELS), UNSEEN_LOGIT)
    weight[regression.classes_] = regression.coef_ / scale
    bias[regression.classes_] = regression.intercept_ - regression.coef_ @ (mean / scale)
    with torch.no_grad():
        for parameter, fitted in ((served.head.weight, weight), (served.head.bias, bias)):
            # a constant over the classes changes no probability; without it the two are on the same footing
            centred = torch.from_numpy(fitted - fitted.mean(axis=0)).to(parameter.dtype)
            parameter.copy_((1 - share) * (parameter - parameter.mean(dim=0)) + share * centred)
    return served
