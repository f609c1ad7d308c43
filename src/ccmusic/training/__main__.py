"""``python -m ccmusic.training``: cross-validation, evaluation, final network, calibration, export, card and pages.

::

    python -m ccmusic.training --data DATA --work WORK --out MODEL_DIRECTORY

Runs that the work directory already holds are taken up; ``--folds 0 --epochs 2 --no-final`` is a quick look.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path

from ccmusic.genres import LABELS
from ccmusic.models.card import Calibration, Card, Training
from ccmusic.training import figures
from ccmusic.training.configuration import Configuration
from ccmusic.training.crossval import gather, load_network, run_all
from ccmusic.training.data import Dataset, load
from ccmusic.training.evaluate import WINDOW_SECONDS
from ccmusic.training.export import MODEL_FILE, export_onnx, serving_network, write_card
from ccmusic.training.page import evaluation_page
from ccmusic.training.reference import describe
from ccmusic.training.report import Evaluation, card_metrics, evaluate

FOLDS = (0, 1, 2, 3, 4)
VERSION = "1.0.0"

logger = logging.getLogger("ccmusic.training")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    out = argparse.ArgumentParser(prog="python -m ccmusic.training", description="Train the embedded model.")
    out.add_argument("--data", type=Path, required=True, help="clips.csv, cqt_<source>.npz, teachers.npz, mn04.npz")
    out.add_argument("--work", type=Path, required=True, help="checkpoints, logs and out-of-fold predictions")
    out.add_argument("--out", type=Path, required=True, help="model directory to write card.json and model.onnx into")
    out.add_argument("--docs", type=Path, default=Path("docs"), help="where evaluation.md and images/ go (docs)")
    out.add_argument("--folds", type=_numbers, default=FOLDS, metavar="0,1,...")
    out.add_argument("--no-final", action="store_true", help="only cross-validate; write no model")
    out.add_argument("--configuration", type=Path, help="JSON with fields of ccmusic.training.loop.Configuration")
    out.add_argument("--epochs", type=int)
    out.add_argument("--seed", type=int)
    # one thread a network: two networks at a time are nearly twice as fast as one with two threads
    jobs = min(len(FOLDS) + 1, os.cpu_count() or 1)
    out.add_argument("--jobs", type=int, default=jobs, help=f"networks trained at a time ({jobs})")
    out.add_argument("--threads", type=int, default=1, help="threads of each (1)")
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
            "MobileNetV3-Large at width 0.4 over the constant-Q transform; its convolutions start from EfficientAT "
            "mn04 (AudioSet; Schmid et al.; MIT licence) and are distilled from linear probes on, and the outputs of, "
            "EfficientAT mn04 (MIT), musicnn trained on the Million Song Dataset (ISC), and MTG-Jamendo's musicnn and "
            "FCN (MIT); the served head is the mean of the distilled one and a logistic regression on the embedding"
        ),
        caveats=(
            "Scores measure agreement with weak labels, not with listeners.",
            "Opera has no real opera among its clips; Teen_pop and Opera rest on very few artists.",
            "Mostly Western music recorded before 2000.",
        ),
    )


def write_model(work: Path, out: Path, configuration: Configuration, dataset: Dataset, evaluation: Evaluation) -> Card:
    """Export the final network and write its card.

    Parameters
    ----------
    work, out : Path
        The finished runs and the model directory to write.
    configuration : Configuration
    dataset : Dataset
    evaluation : Evaluation
        Of the cross-validation with the same configuration.

    Returns
    -------
    Card
    """
    out.mkdir(parents=True, exist_ok=True)
    network = serving_network(load_network(work, None, dataset, configuration), configuration.stem_stride)
    export_onnx(network, out / MODEL_FILE)
    mix, reference = describe(out / MODEL_FILE, dataset, evaluation.temperatures[WINDOW_SECONDS])
    return write_card(
        out,
        name="ccmusic-embedded",
        version=VERSION,
        description=(
            "Small network for the 16 ccMusic genres over the constant-Q transform, distilled from public taggers."
        ),
        labels=LABELS,
        window_seconds=WINDOW_SECONDS,
        too_short_below_seconds=evaluation.too_short_below_seconds,
        uncertain_below=evaluation.uncertain["uncertain_below"],
        calibration=tuple(
            Calibration(window_seconds=seconds, temperature=round(temperature, 4))
            for seconds, temperature in sorted(evaluation.temperatures.items())
        ),
        reference_mix=mix,
        reference=reference,
        licence="MIT",
        training=training_record(dataset),
        metrics=card_metrics(evaluation),
    )


def write_pages(docs: Path, dataset: Dataset, evaluation: Evaluation) -> None:
    """Write evaluation.md and its pictures."""
    names = {name: f"images/evaluation-{name}.png" for name in ("confusion", "lengths", "reliability")}
    figures.confusion(evaluation.reference, evaluation.after, docs / names["confusion"])
    figures.clip_lengths(evaluation.curve, evaluation.probe_curve, docs / names["lengths"])
    figures.reliability(evaluation.reference, evaluation.before, evaluation.after, docs / names["reliability"])
    (docs / "evaluation.md").write_text(evaluation_page(dataset, evaluation, names), encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Run the whole of it."""
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    options = parser().parse_args(arguments)
    configuration = Configuration.read(options.configuration, epochs=options.epochs, seed=options.seed)
    dataset = load(options.data)
    runs = [*options.folds] if options.no_final else [None, *options.folds]
    run_all(options.data, options.work, runs, configuration, options.jobs, options.threads)
    evaluation = evaluate(dataset, gather(options.work, options.folds, dataset), options.folds)
    (options.work / "metrics.json").write_text(json.dumps(card_metrics(evaluation), indent=2) + "\n", encoding="utf-8")
    for system in evaluation.systems:
        logger.info("%s: %s", system.name, {name: round(value, 3) for name, value in system.pooled.items()})
    write_pages(options.docs, dataset, evaluation)
    if not options.no_final:
        card = write_model(options.work, options.out, configuration, dataset, evaluation)
        logger.info("%s %s, sha256 %s", card.name, card.version, card.sha256)


if __name__ == "__main__":
    main()
