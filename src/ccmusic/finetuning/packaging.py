"""From a fitted network to a model directory: calibrated and measured on the held-out recordings, with its card."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ccmusic.finetuning.base_model import Start
from ccmusic.finetuning.excerpts import SHORT_SECONDS, Excerpt, tracks
from ccmusic.inference.front_end import FrontEnd
from ccmusic.inference.onnx_runtime import OnnxBackend
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.card import CARD_NAME, Calibration, Card, GoldenClip, Training
from ccmusic.models.golden import golden_clips
from ccmusic.models.non_music_limits import NonMusicLimits
from ccmusic.models.store import ModelLocation
from ccmusic.scoring.classification import top_k_accuracy
from ccmusic.scoring.measures import Measures, measure
from ccmusic.scoring.temperature import fit_temperature, track_probabilities
from ccmusic.scoring.thresholds import shortest_near, uncertain_threshold

MODEL_FILE = "model.onnx"
WANTED_PRECISION = 0.8
"""Share of right answers among those that do not carry the flag ``uncertain``."""
VERSION = "1.0.0"


@dataclass(frozen=True, eq=False)
class Trust:
    """What the held-out recordings say of a network.

    Attributes
    ----------
    temperatures : dict of float to float
        By length of a window in seconds.
    uncertain_below, too_short_below_seconds : float
        As in the card.
    measures : Measures
        Of the whole recordings, calibrated.
    top1_by_seconds : dict of float to float
    """

    temperatures: dict[float, float]
    uncertain_below: float
    too_short_below_seconds: float
    measures: Measures
    top1_by_seconds: dict[float, float]


def trust(
    shown: Sequence[Excerpt],
    logits: np.ndarray,
    reference: np.ndarray,
    labels: tuple[str, ...],
    window_seconds: float,
    odd: np.ndarray,
) -> Trust:
    """Calibrate and measure a network.

    Parameters
    ----------
    shown : sequence of Excerpt
        Of the held-out recordings.
    logits : np.ndarray [shape=(excerpts, labels)]
    reference : np.ndarray [shape=(recordings,), dtype=int]
        Of every recording, held out or not.
    labels : tuple of str
    window_seconds : float
    odd : np.ndarray [shape=(recordings,), dtype=bool]
        Which recordings the service will call odd, and every answer to them uncertain.
    """
    temperatures, accuracy = {}, {}
    for seconds in (*SHORT_SECONDS, None):
        rows, by_window = tracks(shown, logits, seconds)
        if not len(rows):
            continue
        # as with Laplace's rule of succession; cuts of one recording are alike, and prove no more than one
        smoothing = len(labels) / (len(np.unique(rows)) + len(labels))
        length = window_seconds if seconds is None else seconds
        temperatures[length] = round(fit_temperature(reference[rows], by_window, smoothing), 4)
        probabilities = track_probabilities(by_window, temperatures[length])
        accuracy[length] = top_k_accuracy(reference[rows], probabilities)
    # the whole recordings came last
    found = uncertain_threshold(reference[rows], probabilities, WANTED_PRECISION)["uncertain_below"]
    uncertain_below = max(found, least_threshold(len(labels)))
    uncertain = odd[rows] | (probabilities.max(axis=1) < uncertain_below)
    measures = measure(reference[rows], probabilities, uncertain, labels)
    return Trust(temperatures, uncertain_below, shortest_near(accuracy), measures, accuracy)


def least_threshold(n_labels: int) -> float:
    """What an answer must have not to be called uncertain, however right: twice a guess's share, or an even chance."""
    return round(min(0.5, 2 / n_labels), 2)


def mix(shown: Sequence[Excerpt], logits: np.ndarray, temperature: float) -> tuple[float, ...]:
    """Mean of the probabilities of whole recordings, for the card's ``reference_mix``."""
    _, by_window = tracks(shown, logits, None)
    mean = track_probabilities(by_window, temperature).mean(axis=0)
    return tuple(round(float(share), 5) for share in mean)


def write_model(
    out: Path,
    model: bytes,
    *,
    name: str,
    labels: tuple[str, ...],
    start: Start,
    found: Trust,
    odd_limits: NonMusicLimits,
    reference_mix: tuple[float, ...],
    training: Training,
    metrics: dict[str, Any],
) -> Card:
    """Write a model directory, and have the service's own loader prove it.

    Parameters
    ----------
    out : Path
    model : bytes
        An ONNX file.
    name : str
    labels : tuple of str
    start : Start
        What it was made of.
    found : Trust
    odd_limits : NonMusicLimits
    reference_mix : tuple of float [length=labels]
    training : Training
    metrics : dict
        Added to those of `found`.

    Returns
    -------
    Card

    Raises
    ------
    ModelRefused
        What was written does not answer as it did when it was made.
    """
    card = Card(
        name=name,
        version=VERSION,
        description=f"{', '.join(labels)}, told from one another; made from {start.card.name} {start.card.version}.",
        file=MODEL_FILE,
        sha256=hashlib.sha256(model).hexdigest(),
        golden=_golden(model, start.card, len(labels)),
        labels=labels,
        taxonomy="own",
        features=start.card.features,
        window_seconds=start.card.window_seconds,
        min_seconds=start.card.min_seconds,
        too_short_below_seconds=found.too_short_below_seconds,
        uncertain_below=found.uncertain_below,
        odd=start.card.odd if odd_limits == (start.card.odd or NonMusicLimits()) else odd_limits,
        calibration=tuple(
            Calibration(seconds=seconds, temperature=found.temperatures[seconds])
            for seconds in sorted(found.temperatures)
        ),
        reference_mix=reference_mix,
        licence=start.card.licence,
        training=training,
        metrics={
            "held_out": {
                **found.measures.as_json(),
                "top1_by_seconds": {f"{s:g}": round(value, 4) for s, value in found.top1_by_seconds.items()},
            },
            **metrics,
        },
    )
    # proved beside its place, so that a model that is there already is only replaced by one that answers
    with TemporaryDirectory(prefix=f".{out.name}.", dir=_made(out.parent)) as place:
        (Path(place) / MODEL_FILE).write_bytes(model)
        card.save(Path(place))
        Pipeline.load(ModelLocation(place, Path(place)))
        for file in (MODEL_FILE, CARD_NAME):
            (Path(place) / file).replace(_made(out) / file)
    return card


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _golden(model: bytes, card: Card, n_labels: int) -> tuple[GoldenClip, ...]:
    """Of the lengths that the model's own start was asked, whose networks it keeps."""
    backend, front_end = OnnxBackend(model, n_labels, input_name=card.input_name), FrontEnd(card)
    lengths = dict.fromkeys(clip.seconds for clip in card.golden)
    return golden_clips(
        lambda waveform: backend.all_logits(front_end.network_input([front_end.spectrogram_db(waveform)])),
        tuple(lengths),
    )
