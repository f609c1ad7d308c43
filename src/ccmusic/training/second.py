"""``python -m ccmusic.training.second``: the second generation, two further networks joined to the first one.

::

    python -m ccmusic.training.second --data DATA --audio AUDIO --work WORK --long FIRST --out MODEL_DIRECTORY

FIRST is a model directory as ``python -m ccmusic.training`` writes it; its network goes on answering for recordings
longer than a second, its figures and thresholds stay. Finished runs in the work directory are taken up.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ccmusic.inference.aggregate import softmax
from ccmusic.models.card import Calibration, Card, Head, read_card
from ccmusic.training.configuration import MEMBERS, Configuration
from ccmusic.training.crossval import load_network
from ccmusic.training.data import Dataset, load
from ccmusic.training.export import MODEL_FILE, export_onnx, serving_network, write_card
from ccmusic.training.join import join
from ccmusic.training.members import WHOLE_SECONDS, Layer, run_member, short_head, with_head
from ccmusic.training.second_page import second_pages
from ccmusic.training.second_report import (
    Lengths,
    WorldMeasures,
    guess_source,
    measure_short,
    measure_world,
    world_embeddings,
    world_head,
)
from ccmusic.training.world import WORLD, WorldLabels, world_labels

VERSION = "2.0.0"
FOLDS = (0, 1, 2, 3, 4)
FIRST_LONG_SECONDS = 1.03
"""Shorter than this a window is the short network's, see `ccmusic.training.join.SHORT_FRAMES`."""
FEW_CLIPS = 30

logger = logging.getLogger("ccmusic.training")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    out = argparse.ArgumentParser(prog="python -m ccmusic.training.second", description="Make the second generation.")
    out.add_argument("--data", type=Path, required=True, help="clips.csv, cqt_<source>.npz, teachers.npz, mn04.npz")
    out.add_argument("--audio", type=Path, required=True, help="recordings of free music, for the mel map")
    out.add_argument("--work", type=Path, required=True, help="checkpoints, logs and out-of-fold embeddings")
    out.add_argument("--long", type=Path, required=True, help="model directory of the first network")
    out.add_argument("--out", type=Path, required=True, help="model directory to write card.json and model.onnx into")
    out.add_argument("--docs", type=Path, default=Path("docs"), help="where evaluation.md lies (docs)")
    out.add_argument("--epochs", type=int, help="instead of each network's own number")
    return out


def joined(work: Path, dataset: Dataset, layers: dict[str, Layer], first: Path, path: Path,
           members: dict[str, Configuration]) -> None:  # fmt: skip
    """Export the further networks with their heads, and write one graph of all three."""
    with tempfile.TemporaryDirectory() as directory:
        files = {name: Path(directory) / f"{name}.onnx" for name in members}
        for name, configuration in members.items():
            trained = load_network(work / name, None, dataset, configuration)
            if name == "short":
                with_head(trained, layers[name])
            export_onnx(serving_network(trained, configuration.stem_stride, configuration.front), files[name])
        join(first, files["short"], files["world"], layers["world"], path)


def world_record(work: Path, labels: WorldLabels, layer: Layer, measured: WorldMeasures) -> Head:
    """Describe the head for the world genres."""
    tracks = world_embeddings(work, None, WHOLE_SECONDS) @ layer[0].T + layer[1]
    mix = np.nanmean(softmax(tracks / measured.lengths.temperatures[10.0]), axis=1).mean(axis=0)
    tested = {genre: int((labels.label[labels.tested] == index).sum()) for index, genre in enumerate(WORLD)}
    few = [genre for genre, count in tested.items() if count < FEW_CLIPS]
    whole = measured.lengths.measures[WHOLE_SECONDS]
    return Head(
        labels=WORLD,
        calibration=_calibration(measured.lengths.temperatures),
        uncertain_below=measured.uncertain["uncertain_below"],
        reference_mix=tuple(round(float(share), 5) for share in mix),
        notes=(
            "Nobody labelled recordings for these genres: labels are per artist, from noisy tags and folders, and from "
            "linear probes on public taggers.",
            f"Out of fold {whole['top1']:.2f} top-1 on {sum(tested.values())} clips (listed artists, game scores, one "
            "folder); "
            f"answers without the flag uncertain are right in {measured.uncertain['precision']:.2f} of the cases.",
            f"Fewer than {FEW_CLIPS} labelled clips to test on: {', '.join(few)}; these lean on the taggers.",
            "Rap and Hip-Hop are told apart by their names only: most answers say Hip-Hop.",
        ),
    )


def _calibration(temperatures: dict[float, float]) -> tuple[Calibration, ...]:
    return tuple(
        Calibration(window_seconds=seconds, temperature=round(temperature, 4))
        for seconds, temperature in sorted(temperatures.items())
    )


def card_fields(first: Card, short: Lengths, world: WorldMeasures, head: Head) -> dict[str, Any]:
    """What the new card says: the first one's promises where its network answers, new ones elsewhere."""
    temperatures = {entry.window_seconds: entry.temperature for entry in first.calibration if entry.window_seconds > 1}
    temperatures |= {**short.temperatures, FIRST_LONG_SECONDS: first.temperature(1.0)}
    measured = {f"{s:g}": {k: round(v, 4) for k, v in m.items()} for s, m in short.measures.items()}
    by_seconds = first.metrics["top1_16_by_seconds"] | {s: values["top1_16"] for s, values in measured.items()}
    kept = {
        "window_seconds",
        "too_short_below_seconds",
        "uncertain_below",
        "reference_mix",
        "licence",
        "labels",
        "name",
    }
    return {
        **{name: getattr(first, name) for name in kept},
        "version": VERSION,
        "description": (
            "Three small networks over the constant-Q transform, distilled from public taggers: the 16 ccMusic genres "
            "of recordings, of sounds up to a second, and 16 world genres."
        ),
        "heads": (head,),
        "calibration": _calibration(temperatures),
        "training": first.training.model_copy(
            update={
                "method": first.training.method
                + "; two more of the same kind start from mn04 behind a mel-like map of the transform that is fitted "
                "on free music: one, trained on crops up to 1 s, answers for windows up to 1 s, and both together "
                "name the world genres",
            }
        ),
        "metrics": first.metrics
        | {
            "top1_16_by_seconds": dict(sorted(by_seconds.items(), key=lambda item: float(item[0]))),
            "short": measured,
            "world": {
                "measured_on": "clips of listed artists, game scores and one folder; five folds, pooled",
                "by_seconds": {
                    f"{s:g}": {k: round(v, 4) for k, v in m.items()} for s, m in world.lengths.measures.items()
                },
                "all_teachers_linear_probe": {name: round(value, 4) for name, value in world.teachers.items()},
                "uncertain": world.uncertain,
            },
        },
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the whole of it."""
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    options = parser().parse_args(arguments)
    members = {
        name: configuration if options.epochs is None else replace(configuration, epochs=options.epochs)
        for name, configuration in MEMBERS.items()
    }
    dataset, labels, first = load(options.data), world_labels(options.data), read_card(options.long / "card.json")
    for name, configuration in members.items():
        for fold in (None, *FOLDS):
            run_member(options.data, options.audio, options.work / name, dataset, fold, configuration)
    short = measure_short(options.work / "short", dataset, FOLDS, members["short"])
    world = measure_world(options.work, dataset, labels, FOLDS)
    layers = {
        "short": short_head(options.work / "short", dataset, None, members["short"]),
        "world": world_head(options.work, dataset, labels, None),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    joined(options.work, dataset, layers, options.long / first.file, options.out / MODEL_FILE, members)
    head = world_record(options.work, labels, layers["world"], world)
    card = write_card(options.out, **card_fields(first, short, world, head))
    second_pages(options.docs, first, short, world, guess_source(options.work / "world", dataset, FOLDS))
    logger.info("%s %s, sha256 %s", card.name, card.version, card.sha256)


if __name__ == "__main__":
    main()
