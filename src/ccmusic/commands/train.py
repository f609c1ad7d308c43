"""``ccmusic train``: make a model for your own labels."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccmusic.commands import arguments
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.messages import stage_printer, warn
from ccmusic.commands.models import check_output_directory
from ccmusic.errors import InvalidParameter
from ccmusic.finetuning.plan import EPOCHS, PATIENCE, Plan

if TYPE_CHECKING:
    from ccmusic.finetuning.training_set import TrainingSet
    from ccmusic.models.card import Card

N_SHOWN = 20
"""Number of unusable recordings that are printed."""


def add_command(commands: Any) -> None:
    """Add ``train`` to the command line."""
    parser = commands.add_parser(
        "train",
        help="make a model for your own labels from your own recordings",
        description="Adapts an existing model to your labels, measures it on artists that were not in the training "
        "set, and writes a model directory for CCMUSIC_MODEL. Recordings that cannot be used are reported and skipped.",
        epilog="Example: ccmusic train --data my_music --out my_model",
    )
    arguments.add_data(parser)
    arguments.add_jobs(parser)
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="model directory to make")
    parser.add_argument("--name", help="name of the model (default: the name of --out)")
    parser.add_argument(
        "--from", dest="start", default="embedded", metavar="MODEL", help="model to start from (default: embedded)"
    )
    parser.add_argument(
        "--tune",
        choices=tuple(EPOCHS),
        default="head",
        help="head: train one layer on the embedding, which takes minutes; all: then also every weight, which needs "
        "torch (default: head)",
    )
    parser.add_argument("--epochs", type=int, metavar="N", help=f"most epochs (default: {_each(EPOCHS)})")
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help=f"stop early after this many epochs without improvement (default: {_each(PATIENCE)})",
    )
    parser.add_argument(
        "--holdout", type=float, default=0.2, metavar="SHARE", help="share of the artists held out (default: 0.2)"
    )
    parser.add_argument("--seed", type=int, default=16, metavar="N", help="seed of all random choices (default: 16)")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="folder for what is kept between runs (default: OUT.work)"
    )
    parser.add_argument("--resume", action="store_true", help="continue a run that was interrupted, or train it longer")
    parser.set_defaults(run=_run)


def _each(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number} for {tune}" for tune, number in numbers.items())


def _run(options: argparse.Namespace) -> int:
    plan = Plan(
        options.tune,
        EPOCHS[options.tune] if options.epochs is None else options.epochs,
        PATIENCE[options.tune] if options.patience is None else options.patience,
        options.holdout,
        options.seed,
    )
    # imported late: `--help` and bad arguments must not wait for ONNX Runtime
    from ccmusic.classifier import prepare_model
    from ccmusic.evaluation.labelled_data import read_labelled
    from ccmusic.finetuning.base_model import read_base_model, require_installed
    from ccmusic.settings import read_settings

    out: Path = options.out.absolute()
    check_output_directory(out)
    name = _name(options.name or out.name)
    require_installed(plan.tune)
    from ccmusic.finetuning.run import HELD_OUT_FILE, Run, execute

    settings = read_settings(model=options.start)
    data = read_labelled(options.data, arguments.columns(options))
    n_jobs = arguments.jobs(options)
    location = prepare_model(
        settings, on_stage=stage_printer(quiet=options.quiet), on_caveat=warn, progress=not options.quiet
    )
    start = read_base_model(location, n_jobs)
    work: Path = options.work.absolute() if options.work is not None else out.with_name(f"{out.name}.work")
    run = Run(
        source=str(options.data),
        data=data,
        start=start,
        plan=plan,
        work=work,
        out=out,
        name=name,
        resume=options.resume,
        jobs=n_jobs,
        limits=settings.local_limits,
        device=settings.device,
        quiet=options.quiet,
    )
    try:
        card, training_set = execute(run, warn)
    except KeyboardInterrupt:
        warn(f"interrupted; the work so far is in {work}: run the same command with --resume to continue")
        raise
    print(_summary(card, training_set), end="")
    print(f"\nserve it:    CCMUSIC_MODEL={options.out} ccmusic serve")
    print(f"measure it:  ccmusic evaluate --model {options.out} --data {work / HELD_OUT_FILE} --out report")
    return ExitCode.OK


def _name(text: str) -> str:
    """Return the name of the card: Latin letters, digits and . _ - of `text`."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64]
    if not name:
        raise InvalidParameter("--name", f"must have Latin letters or digits, and {text!r} has none")
    return name


def _summary(card: Card, training_set: TrainingSet) -> str:
    from ccmusic.evaluation.report import number
    from ccmusic.scoring import markdown

    for path, why in list(training_set.refused.items())[:N_SHOWN]:
        warn(f"left out: {path}: {why}")
    if len(training_set.refused) > N_SHOWN:
        warn(f"left out: {len(training_set.refused)} recordings in all")
    found, trained_on = card.metrics["held_out"], card.metrics["recordings"]
    rows = [
        [c["label"], trained_on[c["label"]], c["support"], number(c["precision"]), number(c["recall"]), number(c["f1"])]
        for c in found["classes"]
    ]
    epochs = ", ".join(f"{stage} {n['best']} of {n['all']} epochs" for stage, n in card.metrics["passes"].items())
    return (
        f"{card.name} {card.version}  {card.sha256[:12]}  {card.metrics['seconds']:.0f} s, best after {epochs}\n\n"
        f"On {found['recordings']} recordings of artists that are not in the training set:\n\n"
        + markdown.table(["label", "trained on", "held out", "precision", "recall", "F1"], rows, aligned=True)
        + f"\ntop-1 {found['top1']:.3f}, macro-F1 {found['macro_f1']:.3f}, calibration error {found['ece']:.3f} "
        f"(chance alone gives a calibrated model {found['ece_by_chance']:.3f}, up to "
        f"{found['ece_by_chance_high']:.3f}); {found['coverage']:.0%} of the answers are not flagged as uncertain\n"
    )
