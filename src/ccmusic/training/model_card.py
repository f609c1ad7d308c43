"""The card of the embedded model: its texts, its measures, and what is computed from the network file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ccmusic.features.cqt import cqt_db
from ccmusic.genres import LABELS
from ccmusic.models.card import MODEL_FILE, Card
from ccmusic.models.card_parts import Calibration, Head, Training
from ccmusic.models.golden import golden_clips
from ccmusic.scoring.classification import confusion_matrix, f1_by_class
from ccmusic.training import configuration
from ccmusic.training.data import Dataset
from ccmusic.training.genre_measures import GenreMeasures
from ccmusic.training.predict import CLIP_SECONDS, WHOLE_SECONDS, WINDOW_SECONDS
from ccmusic.training.world_labels import WORLD
from ccmusic.training.world_measures import WorldMeasures

VERSION = "2.1.0"
FEW_CLIPS, LOW_F1 = 30, 0.3
"""The card warns of world genres with fewer tested clips or a lower F1."""
GOLDEN_SECONDS = (10.0, 1.0)
"""One length for the networks for recordings, and one for the network for short sounds."""


def write_card(directory: Path, **fields: Any) -> Card:
    """Write the card of the network in a model directory.

    Parameters
    ----------
    directory : Path
        Holds `MODEL_FILE`.
    **fields
        Fields of `Card` except file, hash and golden clips, which come from the network itself.

    Returns
    -------
    Card
    """
    path = directory / MODEL_FILE
    heads = fields.get("heads", ())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs = ["logits", *(head.output for head in heads)]
    golden = golden_clips(
        lambda waveform: session.run(outputs, {"cqt_db": cqt_db(waveform)[np.newaxis]}),
        GOLDEN_SECONDS,
        [head.taxonomy for head in heads],
    )
    card = Card(
        file=MODEL_FILE,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        golden=golden,
        **fields,
    )
    card.save(directory)
    return card


def card_fields(dataset: Dataset, genres: GenreMeasures, world: WorldMeasures) -> dict[str, Any]:
    """Fields of the card, except those that describe the network file itself."""
    return {
        "name": "ccmusic-embedded",
        "version": VERSION,
        "description": (
            f"{len(configuration.MEMBERS)} small networks over the constant-Q transform, distilled from public "
            "taggers: the 16 ccMusic genres of recordings, of sounds up to 1.5 s, and 16 world genres."
        ),
        "labels": LABELS,
        "window_seconds": WINDOW_SECONDS,
        "too_short_below_seconds": genres.too_short_below_seconds,
        "uncertain_below": genres.uncertain["uncertain_below"],
        "sure": {str(level): values["threshold"] for level, values in genres.sure.items()},
        "calibration": _calibration(genres.temperatures),
        "licence": "MIT",
        "training": _training(dataset),
        "metrics": genre_metrics(genres)
        | {
            "world": {
                "measured_on": "clips of listed artists, game scores and one folder; five folds, pooled",
                "by_seconds": {f"{s:g}": {k: round(v, 4) for k, v in m.items()} for s, m in world.by_seconds.items()},
                "all_teachers_linear_probe": {name: round(value, 4) for name, value in world.teachers.items()},
                "uncertain": world.uncertain,
            },
        },
    }


def world_head(mix: np.ndarray, measured: WorldMeasures) -> Head:
    """Describe the head for the world genres.

    Parameters
    ----------
    mix : np.ndarray [shape=(16,)]
        Mean probabilities over the tracks.
    measured : WorldMeasures
    """
    tested = {str(genre): int(str(count)) for genre, count, *_ in measured.genres}
    few = [genre for genre, count in tested.items() if count < FEW_CLIPS]
    low = [
        str(genre) for genre, _, _, _, f1, *_ in measured.genres
        if str(genre) not in few and float(str(f1)) < LOW_F1
    ]  # fmt: skip
    return Head(
        labels=WORLD,
        calibration=_calibration(measured.temperatures),
        uncertain_below=measured.uncertain["uncertain_below"],
        reference_mix=tuple(round(float(share), 5) for share in mix),
        notes=(
            "The labels are weak: they are per artist, from noisy tags and folders, and from linear probes on public "
            "taggers; no recording was labelled for these genres.",
            f"Out of fold {measured.by_seconds[WHOLE_SECONDS]['top1']:.2f} top-1 on {sum(tested.values())} clips "
            "(listed artists, game scores, one folder); answers without the flag uncertain are right in "
            f"{measured.uncertain['precision']:.2f} of the cases.",
            f"Fewer than {FEW_CLIPS} labelled test clips: {', '.join(few) or 'none'}; these depend on the taggers.",
            f"More clips, but an F1 below {LOW_F1}: {', '.join(low) or 'none'}.",
            "Rap and Hip-Hop differ in name only: most answers are Hip-Hop.",
        ),
    )


def genre_metrics(genres: GenreMeasures) -> dict[str, object]:
    """Measures of the 16 genres for the card, rounded, with a note on what they were measured on."""
    network = genres.systems[0]
    rounded = {name: round(value, 4) for name, value in network.pooled.items() if not name.startswith("ece")}
    deviations = {
        name: round(float(np.std([fold[name] for fold in network.folds], ddof=1)), 4)
        for name in ("top1_16", "top5_16", "top1_9", "top1_2")
        if len(network.folds) > 1
    }
    return {
        "measured_on": (
            f"out-of-fold predictions for {len(genres.reference)} weakly labelled 30-s clips, "
            f"{len(network.folds)} artist-disjoint folds, pooled; agreement with the labelling, not with listeners"
        ),
        "out_of_fold": rounded,
        "standard_deviation_over_folds": deviations,
        "ece_16": {
            "temperature_1": round(genres.ece[WHOLE_SECONDS][0], 4),
            "cross_fitted": round(genres.ece[WHOLE_SECONDS][1], 4),
            "as_shipped": round(genres.ece[WHOLE_SECONDS][2], 4),
            "by_chance": round(genres.ece[WHOLE_SECONDS][3], 4),
            "by_chance_high": round(genres.ece[WHOLE_SECONDS][4], 4),
        },
        "top1_16_by_seconds": {
            f"{s:g}": round(value, 4) for s, value in zip(CLIP_SECONDS, genres.curve[16], strict=True)
        },
        "by_seconds": {
            f"{s:g}": {name: round(values[name], 4) for name in ("top1_16", "top5_16", "top1_9", "top1_2", "ece_16")}
            for s, values in genres.by_seconds.items()
        },
        "all_teachers_linear_probe": {
            name: round(genres.systems[-1].pooled[name], 4) for name in ("top1_16", "top5_16", "top1_9", "top1_2")
        },
        "uncertain": genres.uncertain,
        "sure": {str(level): values for level, values in genres.sure.items()},
        "f1_by_class": {
            label: round(float(value), 4)
            for label, value in zip(LABELS, f1_by_class(confusion_matrix(genres.reference, genres.after)), strict=True)
            if np.isfinite(value)
        },
    }


def _training(dataset: Dataset) -> Training:
    """Describe where the weights come from."""
    labelled = int((dataset.label >= 0).sum())
    return Training(
        data=(
            f"{len(dataset)} clips of about 30 s ({', '.join(sorted(set(dataset.source)))}: research clips of "
            f"commercial and Magnatune recordings, and free orchestral game scores), {labelled} of them labelled; only "
            "features of the clips were available"
        ),
        label_source=(
            "weak labels made by this project per artist or from a work's form, without listening; stand-ins (proxies) "
            "for Opera (sacred and art song) and for most of Symphony (film and game scores)"
        ),
        method=(
            f"{len(configuration.MEMBERS)} MobileNetV3-Large networks at width 0.4 over the constant-Q transform, one "
            "of them over a mel-like map of it that was fitted on free music; the convolutions start from EfficientAT "
            "mn04 (AudioSet; Schmid et al.; MIT licence) and are distilled from linear probes on, and the outputs of, "
            "EfficientAT mn04 (MIT), musicnn trained on the Million Song Dataset (ISC), and MTG-Jamendo's musicnn and "
            f"FCN (MIT); {len(configuration.RECORDINGS)} networks answer for recordings with the mean of their logits, "
            "the other one for sounds up to 1.5 s; all heads are logistic regressions on the embeddings"
        ),
        caveats=(
            "Scores measure agreement with weak labels, not with listeners.",
            "Opera has no real opera among its clips; Teen_pop and Opera rest on very few artists.",
            "Mostly Western music recorded before 2000.",
        ),
    )


def _calibration(temperatures: dict[float, float]) -> tuple[Calibration, ...]:
    return tuple(
        Calibration(seconds=seconds, temperature=round(temperature, 4))
        for seconds, temperature in sorted(temperatures.items())
    )
