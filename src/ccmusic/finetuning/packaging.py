"""Makes a model directory of a fitted network: calibrates and measures it on held-out recordings, writes its card."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ccmusic.finetuning.base_model import BaseModel
from ccmusic.finetuning.excerpts import SHORT_SECONDS, Excerpt, tracks
from ccmusic.inference.front_end import FrontEnd
from ccmusic.inference.onnx_runtime import OnnxBackend
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.card import CARD_NAME, MODEL_FILE, Card
from ccmusic.models.card_parts import Calibration, GoldenClip, Training
from ccmusic.models.golden import golden_clips
from ccmusic.models.non_music_limits import NonMusicLimits
from ccmusic.models.store import ModelLocation
from ccmusic.scoring.classification import top_k_accuracy
from ccmusic.scoring.measures import Measures, measure
from ccmusic.scoring.temperature import fit_temperature, track_probabilities
from ccmusic.scoring.thresholds import shortest_near, uncertain_threshold

WANTED_PRECISION = 0.8
"""Share of right answers among those that do not carry the flag ``uncertain``."""
VERSION = "1.0.0"


@dataclass(frozen=True, eq=False)
class HeldOutResults:
    """What was measured of a network on the held-out recordings.

    Attributes
    ----------
    temperatures : dict of float to float
        By window length in seconds.
    uncertain_below, too_short_below_seconds : float
        As in the card.
    measures : Measures
        Of whole recordings, after calibration.
    top1_by_seconds : dict of float to float
    """

    temperatures: dict[float, float]
    uncertain_below: float
    too_short_below_seconds: float
    measures: Measures
    top1_by_seconds: dict[float, float]


def calibrate_and_measure(
    excerpts: Sequence[Excerpt],
    logits: np.ndarray,
    reference: np.ndarray,
    labels: tuple[str, ...],
    window_seconds: float,
    odd: np.ndarray,
) -> HeldOutResults:
    """Calibrate and measure a network.

    Parameters
    ----------
    excerpts : sequence of Excerpt
        Excerpts of the held-out recordings.
    logits : np.ndarray [shape=(excerpts, labels)]
    reference : np.ndarray [shape=(recordings,), dtype=int]
        Labels of all recordings, held out or not.
    labels : tuple of str
    window_seconds : float
    odd : np.ndarray [shape=(recordings,), dtype=bool]
        Recordings that the service will flag as odd, and their answers as uncertain.
    """
    temperatures, accuracy = {}, {}
    for seconds in (*SHORT_SECONDS, None):
        rows, by_window = tracks(excerpts, logits, seconds)
        if not len(rows):
            continue
        # as in Laplace's rule of succession; the cuts of one recording count as one observation
        smoothing = len(labels) / (len(np.unique(rows)) + len(labels))
        length = window_seconds if seconds is None else seconds
        temperatures[length] = round(fit_temperature(reference[rows], by_window, smoothing), 4)
        probabilities = track_probabilities(by_window, temperatures[length])
        accuracy[length] = top_k_accuracy(reference[rows], probabilities)
    # the last iteration was that of the whole recordings
    found = uncertain_threshold(reference[rows], probabilities, WANTED_PRECISION)["uncertain_below"]
    uncertain_below = max(found, lowest_threshold(len(labels)))
    uncertain = odd[rows] | (probabilities.max(axis=1) < uncertain_below)
    measures = measure(reference[rows], probabilities, uncertain, labels)
    return HeldOutResults(temperatures, uncertain_below, shortest_near(accuracy), measures, accuracy)


def lowest_threshold(n_labels: int) -> float:
    """Lowest ``uncertain_below``: twice the probability of a random guess, at most 0.5."""
    return round(min(0.5, 2 / n_labels), 2)


def mean_probabilities(excerpts: Sequence[Excerpt], logits: np.ndarray, temperature: float) -> tuple[float, ...]:
    """Mean probabilities of whole recordings, for the card's ``reference_mix``."""
    _, by_window = tracks(excerpts, logits, None)
    mean = track_probabilities(by_window, temperature).mean(axis=0)
    return tuple(round(float(share), 5) for share in mean)


def write_model(
    out: Path,
    model: bytes,
    *,
    name: str,
    labels: tuple[str, ...],
    start: BaseModel,
    found: HeldOutResults,
    odd_limits: NonMusicLimits,
    reference_mix: tuple[float, ...],
    training: Training,
    metrics: dict[str, Any],
) -> Card:
    """Write a model directory, and check it with the service's own loader.

    Parameters
    ----------
    out : Path
    model : bytes
        An ONNX file.
    name : str
    labels : tuple of str
    start : BaseModel
        The base model.
    found : HeldOutResults
    odd_limits : NonMusicLimits
    reference_mix : tuple of float [length=labels]
    training : Training
    metrics : dict
        Added to the measures in `found`.

    Returns
    -------
    Card

    Raises
    ------
    ModelRefused
        The written model does not give the answers in its card.
    """
    card = Card(
        name=name,
        version=VERSION,
        description=f"Distinguishes {', '.join(labels)}; made from {start.card.name} {start.card.version}.",
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
    # checked in a temporary directory: an existing model is replaced only by one that works
    with TemporaryDirectory(prefix=f".{out.name}.", dir=_created(out.parent)) as place:
        (Path(place) / MODEL_FILE).write_bytes(model)
        card.save(Path(place))
        Pipeline.load(ModelLocation(place, Path(place)))
        for file in (MODEL_FILE, CARD_NAME):
            (Path(place) / file).replace(_created(out) / file)
    return card


def _created(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _golden(model: bytes, card: Card, n_labels: int) -> tuple[GoldenClip, ...]:
    """Golden clips of the same lengths as the base model's, whose networks the new model keeps."""
    backend, front_end = OnnxBackend(model, n_labels, input_name=card.input_name), FrontEnd(card)
    lengths = dict.fromkeys(clip.seconds for clip in card.golden)
    return golden_clips(
        lambda waveform: backend.all_logits(front_end.network_input([front_end.spectrogram_db(waveform)])),
        tuple(lengths),
    )
