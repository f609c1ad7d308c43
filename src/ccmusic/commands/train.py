"""``ccmusic train``: the flags, and the way from them to a model directory."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccmusic.commands.evaluate import add_data_arguments, columns, jobs, tell
from ccmusic.errors import InvalidParameter
from ccmusic.finetuning.plan import EPOCHS, PATIENCE, Plan

if TYPE_CHECKING:
    from ccmusic.finetuning.training_set import TrainingSet
    from ccmusic.models.card import Card

EXIT_OK = 0
SHOWN_REFUSALS = 20


def add_commands(commands: Any) -> None:
    """Register ``train`` with the command line's subparsers."""
    parser = commands.add_parser(
        "train",
        help="make a model for your own labels from your own recordings",
        description="Fits a model that is there to your labels, measures it on artists that it has not heard, and "
        "writes a model directory that CCMUSIC_MODEL can name. Recordings that cannot be used are told and left out.",
    )
    add_data_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the model directory to make")
    parser.add_argument("--name", help="the model's name (default: that of --out)")
    parser.add_argument(
        "--from", dest="start", default="embedded", metavar="MODEL", help="what to start from (default: embedded)"
    )
    parser.add_argument(
        "--tune",
        choices=tuple(EPOCHS),
        default="head",
        help="head: a layer on the embedding, in minutes; all: then every weight as well, which needs torch",
    )
    parser.add_argument("--epochs", type=int, metavar="N", help=f"most passes (default: {_each(EPOCHS)})")
    parser.add_argument(
        "--patience", type=int, metavar="N", help=f"passes without a gain that are enough (default: {_each(PATIENCE)})"
    )
    parser.add_argument("--holdout", type=float, default=0.2, metavar="SHARE", help="share held out (default: 0.2)")
    parser.add_argument("--seed", type=int, default=16, metavar="N", help="of all that is random (default: 16)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="what is kept between runs (default: OUT.work)")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was interrupted, or for longer")
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
    # Here and not above: `--help` and words that are off need not wait for the network's runtime.
    from ccmusic.classifier import prepared
    from ccmusic.evaluation.labelled_data import read_labelled
    from ccmusic.finetuning.base_model import read_base_model, require_installed
    from ccmusic.settings import read_settings

    out: Path = options.out.absolute()
    _check_out(out)
    name = _name(options.name or out.name)
    require_installed(plan.tune)
    from ccmusic.finetuning.run import HELD_OUT_FILE, Run, execute

    settings = read_settings(model=options.start)
    data = read_labelled(options.data, columns(options))
    start = read_base_model(prepared(settings, quiet=options.quiet), jobs(options))
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
        jobs=jobs(options),
        limits=settings.decode_limits,
        device=settings.device,
        quiet=options.quiet,
    )
    try:
        card, training_set = execute(run, tell)
    except KeyboardInterrupt:
        tell(f"interrupted; what is done lies in {work}: the same command with --resume goes on")
        raise
    print(_summary(card, training_set), end="")
    print(f"\nserve it:    CCMUSIC_MODEL={options.out} ccmusic serve")
    print(f"measure it:  ccmusic evaluate --model {options.out} --data {work / HELD_OUT_FILE} --out report")
    return EXIT_OK


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InvalidParameter("--out", f"is {out}, which is no directory: name another")
    if out.is_dir() and any(out.iterdir()) and not (out / "card.json").is_file():
        raise InvalidParameter("--out", f"is {out}, which holds other things than a model: name another")


def _name(text: str) -> str:
    """What a card may be called."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64]
    if not name:
        raise InvalidParameter("--name", f"must have Latin letters or digits, and {text!r} has none")
    return name


def _summary(card: Card, training_set: TrainingSet) -> str:
    # Here and not above: numpy and what goes with it.
    from ccmusic.evaluation.report import number
    from ccmusic.scoring import markdown

    for path, why in list(training_set.refused.items())[:SHOWN_REFUSALS]:
        tell(f"left out: {path}: {why}")
    if len(training_set.refused) > SHOWN_REFUSALS:
        tell(f"left out: {len(training_set.refused)} recordings in all")
    found, trained_on = card.metrics["held_out"], card.metrics["recordings"]
    rows = [
        [c["label"], trained_on[c["label"]], c["support"], number(c["precision"]), number(c["recall"]), number(c["f1"])]
        for c in found["classes"]
    ]
    passes = ", ".join(f"{stage} {n['best']} of {n['all']} passes" for stage, n in card.metrics["passes"].items())
    return (
        f"{card.name} {card.version}  {card.sha256[:12]}  {card.metrics['seconds']:.0f} s, best after {passes}\n\n"
        f"On {found['recordings']} recordings of artists that it has not heard:\n\n"
        + markdown.table(["label", "learnt from", "held out", "precision", "recall", "F1"], rows, aligned=True)
        + f"\ntop-1 {found['top1']:.3f}, macro-F1 {found['macro_f1']:.3f}, calibration error {found['ece']:.3f} "
        f"(were it calibrated, chance would give {found['ece_by_chance']:.3f}, to {found['ece_by_chance_high']:.3f}); "
        f"{found['coverage']:.0%} of the answers are not called uncertain\n"
    )
