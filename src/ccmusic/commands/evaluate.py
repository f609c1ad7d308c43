"""``ccmusic evaluate``: measure a model on labelled recordings."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccmusic.commands import arguments
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.messages import stage_printer, warn
from ccmusic.errors import InvalidParameter

if TYPE_CHECKING:
    from ccmusic.evaluation.labelled_data import LabelledData
    from ccmusic.evaluation.model_answers import ModelAnswer
    from ccmusic.evaluation.report import Answers, Findings
    from ccmusic.models.card import Card
    from ccmusic.settings import Settings

LENGTHS = "0.3,1,3,10,30"


def add_command(commands: Any) -> None:
    """Add ``evaluate`` to the command line."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model on your own labelled recordings, or compare two models",
        description="Prints accuracy, the F1 score of each label, calibration, and the accuracy on shorter cuts and by "
        "group. With --against it prints the difference between two models and its confidence interval. The exit code "
        "is 1 if some recordings could not be used.",
        epilog="Example: ccmusic evaluate --data my_music --out report",
    )
    arguments.add_data(parser)
    arguments.add_jobs(parser)
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    arguments.add_model(parser)
    parser.add_argument("--against", metavar="MODEL", help="a second model, which is compared with the first")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write report.md with pictures, report.json, answers.csv"
    )
    parser.add_argument("--group", metavar="COLUMN", help="column of the CSV; the scores are also given for each value")
    parser.add_argument(
        "--lengths",
        default=LENGTHS,
        metavar="S,...",
        help=f"lengths in seconds of the shorter cuts that are also classified, or none (default: {LENGTHS})",
    )
    parser.set_defaults(run=_run)


def parse_lengths(text: str) -> tuple[float, ...]:
    """Return the lengths in ``--lengths``, in seconds, sorted.

    Raises
    ------
    InvalidParameter
    """
    if text == "none":
        return ()
    try:
        lengths = sorted({float(part) for part in text.split(",")})
    except ValueError:
        lengths = [0.0]
    if not all(0.05 <= seconds <= 3600 for seconds in lengths):
        raise InvalidParameter("--lengths", f"must be `none` or seconds such as {LENGTHS}, not {text!r}")
    return tuple(lengths)


def _run(options: argparse.Namespace) -> int:
    # imported late: `--help` must not wait for ONNX Runtime
    from ccmusic.evaluation.labelled_data import read_labelled
    from ccmusic.evaluation.report import drawing, summary, write
    from ccmusic.settings import read_settings

    settings = read_settings(model=options.model)
    data = read_labelled(options.data, arguments.columns(options))
    if options.group is not None and any(options.group not in r.columns for r in data.recordings):
        known = ", ".join(data.recordings[0].columns) or "none: a folder has no columns"
        raise InvalidParameter("--group", f"must be a column of the CSV ({known}), not {options.group!r}")
    if options.out is not None:
        drawing()  # a missing library is reported before the work, not after it
    findings = _findings(options, settings, data, parse_lengths(options.lengths))
    if options.out is not None:
        write(findings, options.out)
    print(summary(findings), end="")
    if options.out is not None:
        print(f"\nwritten: {options.out / 'report.md'}")
    return ExitCode.SOME_FAILED if findings.refused else ExitCode.OK


def _findings(
    options: argparse.Namespace, settings: Settings, data: LabelledData, lengths: tuple[float, ...]
) -> Findings:
    from tqdm import tqdm

    from ccmusic.classifier import prepare_model
    from ccmusic.evaluation.model_answers import classify_all, load_card
    from ccmusic.evaluation.report import Findings
    from ccmusic.scoring.comparison import paired_bootstrap

    names = [settings.model] + ([options.against] if options.against is not None else [])
    locations = [
        prepare_model(
            settings.model_copy(update={"model": name}),
            on_stage=stage_printer(quiet=options.quiet),
            on_caveat=warn,
            progress=not options.quiet,
        )
        for name in names
    ]
    cards = [load_card(location, settings.local_limits) for location in locations]
    _same_labels(data, cards, names)
    with tqdm(total=len(data), unit="recording", disable=True if options.quiet else None, leave=False) as bar:
        answered, refused = classify_all(
            locations,
            [recording.path for recording in data.recordings],
            lengths,
            jobs=min(arguments.jobs(options), len(data)),
            limits=settings.local_limits,
            on_done=bar.update,
        )
    used = [row for row, answers in enumerate(answered) if answers is not None]
    if not used:
        path, why = next(iter(refused.items()))
        raise InvalidParameter("--data", f"has no recording that can be used; {path}: {why}")
    data, labels = data.select(used), cards[0].labels
    models = tuple(
        _answers(name, card, labels, [answers[place] for answers in answered if answers is not None])
        for place, (name, card) in enumerate(zip(names, cards, strict=True))
    )
    units = data.units
    differences = {}
    if len(models) > 1 and units.max() > 0:
        differences = paired_bootstrap(data.reference(labels), models[0].probabilities, models[1].probabilities, units)
    drawn = "artists" if data.has_artists else "recordings, or artists where they are known"
    if all(recording.artist is None for recording in data.recordings):
        drawn = "recordings"
    return Findings(str(options.data), data, labels, models, options.group, refused, differences, drawn)


def _same_labels(data: LabelledData, cards: list[Card], names: list[str]) -> None:
    known = set(cards[0].labels)
    if strangers := [label for label in data.labels if label not in known]:
        raise InvalidParameter(
            "--data",
            f"has labels that model {names[0]} does not know: {', '.join(strangers[:10])}; "
            f"it knows {', '.join(cards[0].labels)}",
        )
    if len(cards) > 1 and set(cards[1].labels) != known:
        raise InvalidParameter(
            "--against",
            f"must name a model with the labels of {names[0]}; {names[1]} has {', '.join(cards[1].labels)}",
        )


def _answers(name: str, card: Card, labels: tuple[str, ...], answered: list[ModelAnswer]) -> Answers:
    import numpy as np

    from ccmusic.evaluation.report import Answers
    from ccmusic.inference.result import ModelIdentity

    order = [card.labels.index(label) for label in labels]
    lengths = sorted({seconds for one in answered for seconds in one.by_seconds})
    by_seconds = {}
    for seconds in lengths:
        rows = [row for row, one in enumerate(answered) if seconds in one.by_seconds]
        cuts = [answered[row].by_seconds[seconds][:, order] for row in rows]
        by_seconds[seconds] = (np.concatenate(cuts), np.repeat(rows, [len(cut) for cut in cuts]))
    return Answers(
        name,
        ModelIdentity(card.name, card.version, card.sha256),
        np.stack([one.probabilities for one in answered])[:, order],
        np.array([one.uncertain for one in answered]),
        by_seconds,
    )
