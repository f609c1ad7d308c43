"""``python -m ccmusic.training``: cross-validation, evaluation, final networks, calibration, export, card and pages.

::

    python -m ccmusic.training --data DATA --audio AUDIO --work WORK --out MODEL_DIRECTORY

Runs that the work directory already holds are taken up; ``--folds 0,1 --epochs 2 --no-final`` is a quick look.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ccmusic.genres import LABELS
from ccmusic.inference.aggregate import softmax
from ccmusic.models.card import Card
from ccmusic.models.card_parts import Calibration, Head, Training
from ccmusic.scoring import figures
from ccmusic.training import configuration
from ccmusic.training.crossval import load_network
from ccmusic.training.data import Dataset, load
from ccmusic.training.evaluation_page import evaluation_page
from ccmusic.training.export import MODEL_FILE, export_onnx, serving_network, write_card
from ccmusic.training.heads import Layer, asked, out_of_fold, recordings_layer, short_layer, world_layers
from ccmusic.training.join import Side, join
from ccmusic.training.members import run_all
from ccmusic.training.out_of_fold import Evaluation, card_metrics, evaluate
from ccmusic.training.predict import CLIP_SECONDS, WHOLE_SECONDS, WINDOW_SECONDS
from ccmusic.training.profile import describe
from ccmusic.training.world import WORLD, WorldLabels, world_labels
from ccmusic.training.world_measures import WorldMeasures, guess_source, measure_world
from ccmusic.training.world_page import world_section

FOLDS = (0, 1, 2, 3, 4)
VERSION = "2.1.0"
FEW_CLIPS, LOW_F1 = 30, 0.3
"""World genres with fewer clips to test on, or a lower F1, are named in the card as not to be trusted."""

logger = logging.getLogger("ccmusic.training")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    out = argparse.ArgumentParser(prog="python -m ccmusic.training", description="Train the embedded model.")
    out.add_argument("--data", type=Path, required=True, help="clips.csv, cqt_<source>.npz, teachers.npz, mn04.npz")
    out.add_argument("--audio", type=Path, required=True, help="recordings of free music, for the mel map")
    out.add_argument("--work", type=Path, required=True, help="checkpoints, logs and embeddings")
    out.add_argument("--out", type=Path, required=True, help="model directory to write card.json and model.onnx into")
    out.add_argument("--docs", type=Path, default=Path("docs"), help="where evaluation.md and images/ go (docs)")
    out.add_argument("--folds", type=_numbers, default=FOLDS, metavar="0,1,...")
    out.add_argument("--no-final", action="store_true", help="only cross-validate; write no model")
    out.add_argument("--epochs", type=int, help="instead of each network's own number")
    # one thread a network: two networks at a time are nearly twice as fast as one with two threads
    jobs = os.cpu_count() or 1
    out.add_argument("--jobs", type=int, default=jobs, help=f"networks trained at a time ({jobs})")
    out.add_argument("--threads", type=int, default=1, help="threads of each (1)")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    out.add_argument("--device", default=device, help=f"where torch trains ({device})")
    return out


def training_record(dataset: Dataset) -> Training:
    """Say in words where the weights come from."""
    labelled = int((dataset.label >= 0).sum())
    return Training(
        data=(
            f"{len(dataset)} clips of about 30 s ({', '.join(sorted(set(dataset.source)))}: research clips of "
            f"commercial and Magnatune recordings, and free orchestral game scores), {labelled} of them labelled; only "
            "features of the clips were at hand"
        ),
        label_source=(
            "weak labels made by this project per artist or from a work's form, without listening; stand-ins (proxies) "
            "for Opera (sacred and art song) and for most of Symphony (film and game scores)"
        ),
        method=(
            f"{len(configuration.MEMBERS)} times MobileNetV3-Large at width 0.4 over the constant-Q transform, one of "
            "them behind a mel-like map of it that is fitted on free music; the convolutions start from EfficientAT "
            "mn04 (AudioSet; Schmid et al.; MIT licence) and are distilled from linear probes on, and the outputs of, "
            "EfficientAT mn04 (MIT), musicnn trained on the Million Song Dataset (ISC), and MTG-Jamendo's musicnn and "
            f"FCN (MIT); {len(configuration.RECORDINGS)} networks answer for recordings, by the mean of their logits, "
            "the other for sounds up to 1.5 s; all heads are logistic regressions on the embeddings"
        ),
        caveats=(
            "Scores measure agreement with weak labels, not with listeners.",
            "Opera has no real opera among its clips; Teen_pop and Opera rest on very few artists.",
            "Mostly Western music recorded before 2000.",
        ),
    )


def write_graph(
    work: Path, dataset: Dataset, recordings: dict[str, Layer], short: dict[str, Layer], path: Path
) -> None:
    """Export the final networks and write one graph of them.

    Parameters
    ----------
    work : Path
        The finished runs.
    dataset : Dataset
    recordings, short : dict of str to tuple of np.ndarray
        Layers by output.
    path : Path
        The file to write.
    """
    with tempfile.TemporaryDirectory() as directory:
        files = {name: Path(directory) / f"{name}.onnx" for name in configuration.MEMBERS}
        for name, each in configuration.MEMBERS.items():
            trained = load_network(work / name, None, dataset, each)
            export_onnx(serving_network(trained, each.stem_stride, each.front), files[name])
        join(
            Side([files[name] for name in configuration.RECORDINGS], recordings),
            Side([files[name] for name in configuration.SHORT], short),
            path,
        )


def world_record(mix: np.ndarray, measured: WorldMeasures) -> Head:
    """Describe the head for the world genres.

    Parameters
    ----------
    mix : np.ndarray [shape=(16,)]
        Mean of the tracks' probabilities.
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
            "Nobody labelled recordings for these genres: labels are per artist, from noisy tags and folders, and from "
            "linear probes on public taggers.",
            f"Out of fold {measured.by_seconds[WHOLE_SECONDS]['top1']:.2f} top-1 on {sum(tested.values())} clips "
            "(listed artists, game scores, one folder); answers without the flag uncertain are right in "
            f"{measured.uncertain['precision']:.2f} of the cases.",
            f"Fewer than {FEW_CLIPS} labelled clips to test on: {', '.join(few) or 'none'}; these lean on the taggers.",
            f"More clips, but an F1 below {LOW_F1}: {', '.join(low) or 'none'}.",
            "Rap and Hip-Hop are told apart by their names only: most answers say Hip-Hop.",
        ),
    )


def _calibration(temperatures: dict[float, float]) -> tuple[Calibration, ...]:
    return tuple(
        Calibration(seconds=seconds, temperature=round(temperature, 4))
        for seconds, temperature in sorted(temperatures.items())
    )


def card_fields(dataset: Dataset, evaluation: Evaluation, world: WorldMeasures) -> dict[str, Any]:
    """What the card says, but for what is read off the network itself."""
    return {
        "name": "ccmusic-embedded",
        "version": VERSION,
        "description": (
            f"{len(configuration.MEMBERS)} small networks over the constant-Q transform, distilled from public "
            "taggers: the 16 ccMusic genres of recordings, of sounds up to 1.5 s, and 16 world genres."
        ),
        "labels": LABELS,
        "window_seconds": WINDOW_SECONDS,
        "too_short_below_seconds": evaluation.too_short_below_seconds,
        "uncertain_below": evaluation.uncertain["uncertain_below"],
        "sure": {str(level): values["threshold"] for level, values in evaluation.sure.items()},
        "calibration": _calibration(evaluation.temperatures),
        "licence": "MIT",
        "training": training_record(dataset),
        "metrics": card_metrics(evaluation)
        | {
            "world": {
                "measured_on": "clips of listed artists, game scores and one folder; five folds, pooled",
                "by_seconds": {f"{s:g}": {k: round(v, 4) for k, v in m.items()} for s, m in world.by_seconds.items()},
                "all_teachers_linear_probe": {name: round(value, 4) for name, value in world.teachers.items()},
                "uncertain": world.uncertain,
            },
        },
    }


def write_model(
    work: Path, out: Path, dataset: Dataset, labels: WorldLabels, evaluation: Evaluation, world: WorldMeasures
) -> Card:
    """Export the final networks with their layers, and write the card.

    Parameters
    ----------
    work, out : Path
        The finished runs and the model directory to write.
    dataset : Dataset
    labels : WorldLabels
    evaluation : Evaluation
    world : WorldMeasures
        Of the cross-validation with the same configurations.

    Returns
    -------
    Card
    """
    out.mkdir(parents=True, exist_ok=True)
    leaves = recordings_layer(work, dataset, None), short_layer(work, dataset, None)
    others = world_layers(work, dataset, labels, None)
    recordings, short = ({"logits": a, "world_logits": b} for a, b in zip(leaves, others, strict=True))
    write_graph(work, dataset, recordings, short, out / MODEL_FILE)
    mix, reference = describe(out / MODEL_FILE, dataset, evaluation.temperatures[WHOLE_SECONDS])
    tracks = asked(work, None, np.arange(len(dataset)), WHOLE_SECONDS, *others)[:, 0]
    world_mix = np.nanmean(softmax(tracks / world.temperatures[WHOLE_SECONDS]), axis=1).mean(axis=0)
    fields = card_fields(dataset, evaluation, world)
    return write_card(out, **fields, heads=(world_record(world_mix, world),), reference_mix=mix, reference=reference)


def write_pages(
    docs: Path, dataset: Dataset, evaluation: Evaluation, world: WorldMeasures,
    source: dict[str, tuple[float, float, float]],
) -> None:  # fmt: skip
    """Write evaluation.md and its pictures."""
    drawn = ("confusion", "lengths", "reliability", "reliability-short", "reliability-world")
    names = {name: f"images/evaluation-{name}.png" for name in drawn}
    figures.confusion(evaluation.reference, evaluation.after, docs / names["confusion"])
    curve = {level: dict(zip(CLIP_SECONDS, shares, strict=True)) for level, shares in evaluation.curve.items()}
    figures.clip_lengths(curve, evaluation.probe_curve, docs / names["lengths"])
    figures.reliability(evaluation.reference, evaluation.before, evaluation.after, docs / names["reliability"])
    figures.reliability(*evaluation.short, docs / names["reliability-short"])
    figures.reliability(world.reference, world.before, world.after, docs / names["reliability-world"])
    page = evaluation_page(dataset, evaluation, names) + "\n" + world_section(world, source, names)
    (docs / "evaluation.md").write_text(page, encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Run the whole of it."""
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    options = parser().parse_args(arguments)
    members = {
        name: each if options.epochs is None else replace(each, epochs=options.epochs)
        for name, each in configuration.MEMBERS.items()
    }
    runs = [*options.folds] if options.no_final else [None, *options.folds]
    run_all(options.data, options.audio, options.work, members, runs, options.jobs, options.threads, options.device)
    dataset, labels = load(options.data), world_labels(options.data)
    evaluation = evaluate(dataset, out_of_fold(options.work, dataset, options.folds), options.folds)
    (options.work / "metrics.json").write_text(json.dumps(card_metrics(evaluation), indent=2) + "\n", encoding="utf-8")
    for system in evaluation.systems:
        logger.info("%s: %s", system.name, {name: round(value, 3) for name, value in system.pooled.items()})
    world = measure_world(options.work, dataset, labels, options.folds)
    logger.info("world genres: %s", {s: round(values["top1"], 3) for s, values in world.by_seconds.items()})
    write_pages(options.docs, dataset, evaluation, world, guess_source(options.work, dataset, options.folds))
    if not options.no_final:
        card = write_model(options.work, options.out, dataset, labels, evaluation, world)
        logger.info("%s %s, sha256 %s", card.name, card.version, card.sha256)


if __name__ == "__main__":
    main()
