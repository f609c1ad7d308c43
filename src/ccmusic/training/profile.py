"""Describes the recordings that a model was trained on, for its card: the reference of drift detection.

``python -m ccmusic.training.profile --data DATA --model MODEL_DIRECTORY`` writes this into the card of a model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime

from ccmusic.inference.aggregate import softmax
from ccmusic.inference.level_and_bandwidth import bandwidth_hz
from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.models.training_profile import Reference, Spread
from ccmusic.training.data import Dataset, load
from ccmusic.training.predict import WHOLE_SECONDS, predict

N_QUANTILES = 21
ERRORS = 2.0
"""Tolerance of the mean probability of a genre, in standard errors of the mean over artists."""
LEAST_MIX_TOLERANCE = 0.01
TOLERANCE = 0.1
"""Tolerance of a mean rank: smaller shifts do not matter."""
CONFIDENCE_TOLERANCE = 0.2
"""Twice that: the network was trained on these clips and is more confident of them than of others. Version 1.0.0 gives
64 % of its labelled clips a largest probability of 0.41 or more; networks that were not trained on them, 51 %."""
NOTE = (
    "clips of about 30 s that the network was trained on; level from the clips' root mean square, bandwidth from their "
    "constant-Q spectrograms (stored in steps of 0.5 dB, 80 dB deep)"
)


def describe(path: Path, dataset: Dataset, temperature: float) -> tuple[tuple[float, ...], Reference]:
    """Measure the recordings with the exported network.

    Parameters
    ----------
    path : Path
        The network.
    dataset : Dataset
    temperature : float
        For windows of a whole track.

    Returns
    -------
    mix : tuple of float [length=16]
        Mean probabilities over the tracks; they sum to 1, up to rounding.
    reference : Reference
    """
    windows = window_probabilities(path, dataset, temperature)
    tracks = np.nanmean(windows, axis=1)
    tolerance = np.maximum(LEAST_MIX_TOLERANCE, ERRORS * clustered_error(tracks, dataset.artist))
    bandwidths = np.array([bandwidth_hz(dataset.cqt_db(clip)) for clip in range(len(dataset))])
    reference = Reference(
        recordings=len(dataset),
        artists=len(np.unique(dataset.artist)),
        note=NOTE,
        mix_tolerance=tuple(round(float(share), 4) for share in tolerance),
        confidence=spread(np.nanmean(windows.max(axis=2), axis=1), CONFIDENCE_TOLERANCE),
        level_dbfs=spread(level_dbfs(dataset)),
        bandwidth_hz=spread(bandwidths),
    )
    return tuple(round(float(share), 5) for share in tracks.mean(axis=0)), reference


def clustered_error(values: np.ndarray, artist: np.ndarray) -> np.ndarray:
    """Standard error of a mean over recordings that are alike within an artist and independent between artists.

    Parameters
    ----------
    values : np.ndarray [shape=(n, k)]
    artist : np.ndarray [shape=(n,)]

    Returns
    -------
    np.ndarray [shape=(k,)]
    """
    artists, place = np.unique(artist, return_inverse=True)
    sums = np.zeros((len(artists), values.shape[1]))
    np.add.at(sums, place, values - values.mean(axis=0))
    return np.asarray(np.sqrt((sums**2).sum(axis=0)) / len(values))


def window_probabilities(path: Path, dataset: Dataset, temperature: float) -> np.ndarray:
    """Probabilities of the exported network for every window of every clip.

    Parameters
    ----------
    path : Path
        The network.
    dataset : Dataset
    temperature : float
        For windows of a whole track.

    Returns
    -------
    np.ndarray [shape=(clips, windows, 16)]
        NaN where a clip has fewer windows.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def forward(cqt_db: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(["logits"], {"cqt_db": cqt_db.astype(np.float32)})[0])

    logits = predict(forward, dataset, np.arange(len(dataset)), WHOLE_SECONDS)
    return softmax(logits[:, 0] / temperature)


def level_dbfs(dataset: Dataset) -> np.ndarray:
    """Level of every clip that is not silent, in decibels of full scale."""
    rms = dataset.rms[np.isfinite(dataset.rms) & (dataset.rms > 0)]
    return np.asarray(20 * np.log10(rms))


def spread(values: np.ndarray, tolerance: float = TOLERANCE) -> Spread | None:
    """Describe the distribution of one number of the recordings; None if it is the same for all, or not known."""
    if len(values) == 0:
        return None
    quantiles = tuple(round(float(q), 4) for q in np.quantile(values, np.linspace(0, 1, N_QUANTILES)))
    if quantiles[0] == quantiles[-1]:
        return None
    return Spread(
        mean=round(float(values.mean()), 4),
        variance=round(float(values.var()), 6),
        quantiles=quantiles,
        tolerance=tolerance,
    )


def main(arguments: list[str] | None = None) -> None:
    """Write the description into the card of a finished model."""
    parser = argparse.ArgumentParser(prog="python -m ccmusic.training.profile", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    options = parser.parse_args(arguments)
    card = read_card(options.model / CARD_NAME)
    mix, reference = describe(options.model / card.file, load(options.data), card.temperature(WHOLE_SECONDS))
    card.model_copy(update={"reference_mix": mix, "reference": reference}).save(options.model)


if __name__ == "__main__":
    main()
