"""``ccmusic tag``: plan, write, verify and undo genres in the tags of files."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.messages import warn
from ccmusic.errors import CatalogueError, CcmusicError, InsufficientStorage, InvalidParameter
from ccmusic.process.log_lines import one_line

if TYPE_CHECKING:
    from ccmusic.tagging.changes import TagOutcome

JOURNAL_SUFFIX = ".journal"
MOST_REASONS = 20
"""So many are printed; the plan has all of them."""


def add_command(commands: Any) -> None:
    """Add ``tag`` and its actions to the command line."""
    tag = commands.add_parser("tag", help="plan, write, verify and undo genres in the tags of files")
    actions = tag.add_subparsers(required=True, metavar="ACTION")

    planning = actions.add_parser(
        "plan",
        help="make a plan from the results of a batch; no recording is changed",
        description="Writes a plan: one line of JSON for each track, with what would be written into its tags, or why "
        "nothing would. A genre that is there is kept, and an answer that is not sure is not written. You may edit the "
        "plan.",
        epilog="Example: ccmusic tag plan ~/labels --out plan.jsonl",
    )
    planning.add_argument("results", type=Path, metavar="DIR", help="the folder of results of `ccmusic batch`")
    planning.add_argument("--out", type=Path, required=True, metavar="PLAN", help="file to make")
    planning.add_argument(
        "--vocabulary", type=Path, metavar="FILE", help="your genres for our labels, TOML or JSON (default: shipped)"
    )
    mode = planning.add_mutually_exclusive_group()
    mode.add_argument("--replace", action="store_true", help="write the genre in place of the one that is there")
    mode.add_argument("--add", action="store_true", help="write the genre beside the one that is there")
    planning.add_argument(
        "--evidence", action="store_true", help="write label, probability and model into fields CCMUSIC_* too"
    )
    planning.set_defaults(run=_reported(_plan))

    applying = actions.add_parser(
        "apply",
        help="write what a plan says",
        description="Writes each genre into a copy, checks the copy, and puts it in place of the file in one step. The "
        "journal keeps what was there. After an interruption, give the same command again.",
        epilog="Example: ccmusic tag apply plan.jsonl",
    )
    _add_plan_and_journal(applying)
    _add_times(applying)
    applying.set_defaults(run=_reported(_apply))

    verifying = actions.add_parser(
        "verify",
        help="read the files of a plan again: do they hold what it says, and the same sound?",
        epilog="Example: ccmusic tag verify plan.jsonl",
    )
    verifying.add_argument("plan", type=Path, metavar="PLAN", help="the file that `ccmusic tag plan` made")
    verifying.set_defaults(run=_reported(_verify))

    undoing = actions.add_parser(
        "undo",
        help="give the files of a plan the fields back that they had",
        description="Restores genre and own fields from the journal. A file that was changed since is left as it is.",
        epilog="Example: ccmusic tag undo plan.jsonl",
    )
    _add_plan_and_journal(undoing)
    _add_times(undoing)
    undoing.set_defaults(run=_reported(_undo))


def _add_plan_and_journal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", type=Path, metavar="PLAN", help="the file that `ccmusic tag plan` made")
    parser.add_argument("--journal", type=Path, metavar="FILE", help=f"default: PLAN{JOURNAL_SUFFIX}")


def _add_times(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--touch", action="store_true", help="give changed files a new time, so that media servers read them again"
    )


def _reported(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    def wrapped(options: argparse.Namespace) -> int:
        from ccmusic.tagging.mutagen_library import require_mutagen

        require_mutagen()
        try:
            return run(options)
        except (InvalidParameter, CatalogueError, InsufficientStorage):
            raise
        except CcmusicError as error:
            warn(error.sentence)
            return ExitCode.SOME_FAILED

    return wrapped


def _plan(options: argparse.Namespace) -> int:
    from ccmusic.batch.catalogue import Catalogue, catalogue_errors
    from ccmusic.batch.plan_format import KEEP
    from ccmusic.tagging.plan import write_plan
    from ccmusic.tagging.propose import ADD, MISSING, REPLACE, Wishes, propose
    from ccmusic.tagging.vocabulary import read_vocabulary, shipped_vocabulary
    from ccmusic.version import __version__

    vocabulary = shipped_vocabulary() if options.vocabulary is None else read_vocabulary(options.vocabulary)
    mode = REPLACE if options.replace else ADD if options.add else MISSING
    wishes = Wishes(vocabulary, mode, options.evidence)
    about = {"made_by": f"ccmusic {__version__}", "results": str(options.results.absolute())}
    about |= {"vocabulary": vocabulary.name, "mode": mode}
    with catalogue_errors(options.results), Catalogue.open(options.results, read_only=True) as catalogue:
        counts = write_plan(options.out, about, (propose(row, wishes) for row in catalogue.tracks()))
    most = Counter(counts).most_common(MOST_REASONS)
    for what, number in most:
        print(f"{number:7,}  {one_line(what)}")
    if len(counts) > len(most):
        print(f"{sum(counts.values()) - sum(number for _, number in most):7,}  {KEEP}: other reasons")
    print(f"{options.out}: read it, edit it, then: ccmusic tag apply {options.out}")
    return ExitCode.OK


def _apply(options: argparse.Namespace) -> int:
    from ccmusic.tagging.apply import apply_plan
    from ccmusic.tagging.journal import Journal

    with Journal(_journal(options)) as journal:
        code = _print(apply_plan(options.plan, journal, keeps_times=not options.touch))
        print(f"undo with: ccmusic tag undo {options.plan} --journal {journal.path}")
    return code


def _verify(options: argparse.Namespace) -> int:
    from ccmusic.tagging.apply import verify_plan

    return _print(verify_plan(options.plan))


def _undo(options: argparse.Namespace) -> int:
    from ccmusic.tagging.apply import undo
    from ccmusic.tagging.journal import Journal

    path = _journal(options)
    if not path.is_file():
        raise InvalidParameter("--journal", f"is {path}, which does not exist: nothing was written with it")
    with Journal(path) as journal:
        return _print(undo(journal, keeps_times=not options.touch))


def _journal(options: argparse.Namespace) -> Path:
    plan: Path = options.plan
    return Path(options.journal or plan.with_name(f"{plan.name}{JOURNAL_SUFFIX}"))


def _print(outcomes: Iterable[TagOutcome]) -> int:
    """Print what became of each file that is not as wished, and the sums; on a terminal the number so far too."""
    from tqdm import tqdm

    counts: Counter[str] = Counter()
    try:
        for outcome in tqdm(outcomes, unit=" files", disable=None, leave=False):
            counts[outcome.what] += 1
            if outcome.reason:
                tqdm.write(one_line(f"left {outcome.path}: {outcome.reason}"), file=sys.stderr)
    finally:
        print(", ".join(f"{number:,} {what}" for what, number in sorted(counts.items())) or "nothing to do")
    return ExitCode.SOME_FAILED if counts["left"] else ExitCode.OK
