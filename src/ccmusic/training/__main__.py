"""``python -m ccmusic.training``: trains, evaluates and exports the embedded model.

::

    python -m ccmusic.training --data DATA --audio AUDIO --work WORK --out MODEL_DIRECTORY

Finished runs in the work directory are not trained again. For a quick try: ``--folds 0,1 --epochs 2 --no-final``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import torch

from ccmusic.training import configuration
from ccmusic.training.data import load
from ccmusic.training.evaluation_page import write_page
from ccmusic.training.final_model import write_model
from ccmusic.training.genre_measures import measure_genres
from ccmusic.training.heads import out_of_fold
from ccmusic.training.model_card import genre_metrics
from ccmusic.training.runs import run_all
from ccmusic.training.world_labels import world_labels
from ccmusic.training.world_measures import guess_source, measure_world

logger = logging.getLogger("ccmusic.training")


def main(arguments: list[str] | None = None) -> None:
    """Run every step; README.md lists them."""
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    options = parser().parse_args(arguments)

    # train every network: once without each fold, and for the final model on all clips
    members = {
        name: each if options.epochs is None else replace(each, epochs=options.epochs)
        for name, each in configuration.MEMBERS.items()
    }
    splits = [*options.folds] if options.no_final else [None, *options.folds]
    run_all(options.data, options.audio, options.work, members, splits, options.jobs, options.threads, options.device)

    # fit the heads and measure them on the clips of the held-out folds
    dataset, labels = load(options.data), world_labels(options.data)
    genres = measure_genres(dataset, out_of_fold(options.work, dataset, options.folds))
    (options.work / "metrics.json").write_text(json.dumps(genre_metrics(genres), indent=2) + "\n", encoding="utf-8")
    for system in genres.systems:
        logger.info("%s: %s", system.name, {name: round(value, 3) for name, value in system.pooled.items()})
    world = measure_world(options.work, dataset, labels, options.folds)
    logger.info("world genres: %s", {s: round(values["top1"], 3) for s, values in world.by_seconds.items()})
    write_page(options.docs, dataset, genres, world, guess_source(options.work, dataset, options.folds))

    # export the final networks with heads fitted on all clips, and write the card
    if not options.no_final:
        card = write_model(options.work, options.out, dataset, labels, genres, world)
        logger.info("%s %s, sha256 %s", card.name, card.version, card.sha256)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    out = argparse.ArgumentParser(prog="python -m ccmusic.training", description="Train the embedded model.")
    out.add_argument("--data", type=Path, required=True, help="clips.csv, cqt_<source>.npz, teachers.npz, mn04.npz")
    out.add_argument("--audio", type=Path, required=True, help="recordings of free music, for the mel map")
    out.add_argument("--work", type=Path, required=True, help="checkpoints, logs and embeddings")
    out.add_argument("--out", type=Path, required=True, help="model directory for card.json and model.onnx")
    out.add_argument("--docs", type=Path, default=Path("docs"), help="directory for evaluation.md and images/ (docs)")
    out.add_argument("--folds", type=_numbers, default=configuration.FOLDS, metavar="0,1,...")
    out.add_argument("--no-final", action="store_true", help="only cross-validate; write no model")
    out.add_argument("--epochs", type=int, help="replaces the number of epochs of every network")
    # one thread per network: two networks at a time are nearly twice as fast as one with two threads
    jobs = os.cpu_count() or 1
    out.add_argument("--jobs", type=int, default=jobs, help=f"networks that train at a time ({jobs})")
    out.add_argument("--threads", type=int, default=1, help="threads per network (1)")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    out.add_argument("--device", default=device, help=f"device of torch ({device})")
    return out


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    main()
