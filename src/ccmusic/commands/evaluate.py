"""``ccmusic evaluate``: the flags, and the way from them to the report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccmusic.errors import InvalidParameter

if TYPE_CHECKING:
    from ccmusic.evaluation.labelled_data import Columns, LabelledData
    from ccmusic.evaluation.model_answers import ModelAnswer
    from ccmusic.evaluation.report import Answers, Findings
    from ccmusic.models.card import Card
    from ccmusic.settings import Settings

EXIT_OK = 0
EXIT_SOME_FAILED = 1

LENGTHS = "0.3,1,3,10,30"


def add_commands(commands: Any) -> None:
    """Register ``evaluate`` with the command line's subparsers."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model on your own labelled recordings, or compare two",
        description="Prints accuracy, F1 of each label, calibration, accuracy over the length heard, and by group; "
        "with --against the difference of two models and how sure it is. Exit code 1: some recordings could not be "
        "used.",
    )
    add_data_arguments(parser)
    parser.add_argument("--model", help="embedded or a model directory (default: the setting)")
    parser.add_argument("--against", metavar="MODEL", help="a second model, compared with the first")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write report.md with pictures, report.json, answers.csv"
    )
    parser.add_argument("--group", metavar="COLUMN", help="column of the CSV by which the measures are broken down")
    parser.add_argument(
        "--lengths", default=LENGTHS, metavar="S,...", help=f"cuts in seconds that are tried, or none ({LENGTHS})"
    )
    parser.set_defaults(run=_run)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``train`` and ``evaluate`` are told of the recordings, and how they run."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR_OR_CSV",
        help="a folder for each label (and in it, if known, one for each artist), or a CSV with path, label, artist",
    )
    for name, meaning in (("path", "the recording"), ("label", "its label"), ("artist", "who must not be split")):
        parser.add_argument(
            f"--{name}-column", default=name, metavar="NAME", help=f"the CSV's column with {meaning} (default: {name})"
        )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes that read recordings (default: one a core)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def columns(options: argparse.Namespace) -> Columns:
    """What the CSV calls its columns."""
    from ccmusic.evaluation.labelled_data import Columns

    return Columns(options.path_column, options.label_column, options.artist_column)


def jobs(options: argparse.Namespace) -> int:
    """How many processes read recordings."""
    from ccmusic.parallel import processors

    if options.jobs is not None and options.jobs < 1:
        raise InvalidParameter("--jobs", f"must be 1 or more, not {options.jobs}")
    return options.jobs or processors()


def parse_lengths(text: str) -> tuple[float, ...]:
    """Read ``--lengths``, ascending.

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
    # Here and not above: `--help` need not wait for the network's runtime.
    from ccmusic.evaluation.labelled_data import read_labelled
    from ccmusic.evaluation.report import drawing, summary, write
    from ccmusic.settings import read_settings

    settings = read_settings(model=options.model)
    data = read_labelled(options.data, columns(options))
    if options.group is not None and any(options.group not in r.columns for r in data.recordings):
        known = ", ".join(data.recordings[0].columns) or "none: a folder has no columns"
        raise InvalidParameter("--group", f"must be a column of the CSV ({known}), not {options.group!r}")
    if options.out is not None:
        drawing()  # what it lacks is said before the work and not after it
    findings = _findings(options, settings, data, parse_lengths(options.lengths))
    if options.out is not None:
        write(findings, options.out)
    print(summary(findings), end="")
    if options.out is not None:
        print(f"\nwritten: {options.out / 'report.md'}")
    return EXIT_SOME_FAILED if findings.refused else EXIT_OK


def _findings(
    options: argparse.Namespace, settings: Settings, data: LabelledData, lengths: tuple[float, ...]
) -> Findings:
    from tqdm import tqdm

    from ccmusic.classifier import prepared
    from ccmusic.evaluation.model_answers import classify_all, load_card
    from ccmusic.evaluation.report import Findings
    from ccmusic.scoring.comparison import paired_bootstrap

    names = [settings.model] + ([options.against] if options.against is not None else [])
    locations = [prepared(settings.model_copy(update={"model": name}), quiet=options.quiet) for name in names]
    cards = [load_card(location, settings.decode_limits) for location in locations]
    _same_labels(data, cards, names)
    with tqdm(total=len(data), unit="recording", disable=True if options.quiet else None, leave=False) as bar:
        heard, refused = classify_all(
            locations,
            [recording.path for recording in data.recordings],
            lengths,
            jobs=min(jobs(options), len(data)),
            limits=settings.decode_limits,
            on_done=bar.update,
        )
    used = [row for row, answers in enumerate(heard) if answers is not None]
    if not used:
        path, why = next(iter(refused.items()))
        raise InvalidParameter("--data", f"has no recording that can be used; {path}: {why}")
    data, labels = data.select(used), cards[0].labels
    models = tuple(
        _answers(name, card, labels, [answers[place] for answers in heard if answers is not None])
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


def _answers(name: str, card: Card, labels: tuple[str, ...], heard: list[ModelAnswer]) -> Answers:
    import numpy as np

    from ccmusic.evaluation.report import Answers
    from ccmusic.inference.result import ModelIdentity

    order = [card.labels.index(label) for label in labels]
    lengths = sorted({seconds for one in heard for seconds in one.by_seconds})
    by_seconds = {}
    for seconds in lengths:
        rows = [row for row, one in enumerate(heard) if seconds in one.by_seconds]
        cuts = [heard[row].by_seconds[seconds][:, order] for row in rows]
        by_seconds[seconds] = (np.concatenate(cuts), np.repeat(rows, [len(cut) for cut in cuts]))
    return Answers(
        name,
        ModelIdentity(card.name, card.version, card.sha256),
        np.stack([one.probabilities for one in heard])[:, order],
        np.array([one.uncertain for one in heard]),
        by_seconds,
    )


def tell(text: str) -> None:
    """Say something that is no result."""
    print(f"ccmusic: {text}", file=sys.stderr, flush=True)
