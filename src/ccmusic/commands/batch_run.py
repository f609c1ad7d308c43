"""``ccmusic batch run``: label a whole library; the catalogue is in the folder of results (docs/batch.md)."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccmusic.commands import arguments
from ccmusic.commands.batch_progress import Report, report_for
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.messages import stage_printer, warn
from ccmusic.errors import InvalidParameter

if TYPE_CHECKING:
    from ccmusic.batch.catalogue import Catalogue
    from ccmusic.batch.found_tracks import FoundTracks
    from ccmusic.batch.stop_signals import StopSignals
    from ccmusic.batch.walk import FoundFile


def add_action(actions: Any, name: str) -> None:
    """Add the action to ``ccmusic batch``."""
    parser = actions.add_parser(
        name,
        help="label a library; the same command continues a run that was interrupted",
        description="Labels every recording once; `ccmusic batch PATH ...` is short for this action. Each answer is "
        "committed to the catalogue in the folder of results, so the same command continues after any interruption, a "
        "power failure included. A file that has not changed is not analysed again. The last line counts what was "
        "found. Exit code 1 says that something failed.",
        epilog="Example: ccmusic batch ~/Music --out ~/labels",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a folder, a recording, a pattern in quotes such as 'music/**/*.mp3', a playlist (.m3u, .m3u8), or a list "
        "(.csv, .parquet)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the catalogue")
    parser.add_argument("--retry-failed", action="store_true", help="try failed recordings again")
    parser.add_argument(
        "--redo-stale", action="store_true", help="analyse again what was answered by another model, version or setting"
    )
    parser.add_argument(
        "--path-column", default="path", metavar="NAME", help="column of a list with the paths (default: path)"
    )
    parser.add_argument(
        "--keep-windows", action="store_true", help="also keep the answer for each window: ten times the space"
    )
    parser.add_argument(
        "--watch", action="store_true", help="then keep labelling what arrives in the folders, until Ctrl-C or SIGTERM"
    )
    parser.add_argument("--json", action="store_true", help="print the progress as a JSON object per line")
    arguments.add_taxonomy(parser)
    arguments.add_windows(parser)
    arguments.add_model(parser)
    arguments.add_jobs(parser)
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    # imported late: `--help` must not wait for ONNX Runtime
    from ccmusic.batch.catalogue import Catalogue, catalogue_errors
    from ccmusic.batch.run_lock import only_run
    from ccmusic.batch.stop_signals import Stopped, StopSignals

    report = report_for(sys.stdout, as_json=options.json, quiet=options.quiet)
    with StopSignals() as stop, only_run(options.out), Catalogue.open(options.out) as catalogue:
        try:
            with catalogue_errors(options.out):
                code = _label(options, catalogue, stop, report)
        except Stopped as stopped:
            report.close()
            counts = catalogue.counts()
            catalogue.end_run("interrupted")
            warn(f"stopped; {counts['waiting']} tracks wait. To continue, give the same command again.")
            return ExitCode.INTERRUPTED if stopped.signal == signal.SIGINT else ExitCode.TERMINATED
        finally:
            report.close()
    return code


def _label(options: argparse.Namespace, catalogue: Catalogue, stop: StopSignals, report: Report) -> int:
    from ccmusic.audio.windows import parse_windows
    from ccmusic.batch.analysis import AnalysisPlan, prepare
    from ccmusic.batch.fingerprint import fingerprint_of
    from ccmusic.batch.found_tracks import FoundTracks
    from ccmusic.batch.progress import Progress
    from ccmusic.batch.run import analyse_waiting
    from ccmusic.classifier import open_pipeline, prepare_model
    from ccmusic.inference.backend import Execution
    from ccmusic.inference.result import chosen_taxonomy
    from ccmusic.settings import read_settings

    n_jobs = arguments.jobs(options)
    settings = read_settings(model=options.model)
    windows = parse_windows(options.windows, settings.max_windows)
    location = prepare_model(
        settings, on_stage=stage_printer(quiet=options.quiet), on_caveat=warn, progress=not options.quiet
    )
    # Loaded here also: an unusable model is then one error, and the fingerprint names what really runs.
    pipeline = open_pipeline(settings, location, threads=1)
    taxonomy = chosen_taxonomy(options.taxonomy, pipeline.card.taxonomies)
    level = taxonomy.level(options.level)
    fingerprint = fingerprint_of(pipeline, settings, options.windows, taxonomy.name, level)
    del pipeline
    stop.check()

    row = catalogue.begin_run(fingerprint, _command(options))
    tracks = FoundTracks(catalogue, row, redo_stale=options.redo_stale, retry_failed=options.retry_failed)
    tracks.mark_stale()
    folders = _walk(options, tracks, stop.check, report)
    if options.watch and not folders:
        raise InvalidParameter("--watch", "needs a folder among the paths")
    prepared_with = (
        location,
        settings.local_limits,
        Execution(threads=1, device=settings.device),
        AnalysisPlan(
            windows,
            taxonomy.name,
            level,
            options.keep_windows,
            options.out,
            row,
            settings.worker_descriptors,
            settings.worker_file_bytes,
            settings.worker_sandbox,
        ),
    )

    def analyse_found() -> int:
        counts = tracks.counts()
        catalogue.note_found(sum(counts.values()))
        progress = Progress(counts, report.progress)
        analyse_waiting(
            tracks,
            progress,
            jobs=max(1, min(n_jobs, counts["waiting"])),
            prepare=prepare,
            prepared_with=prepared_with,
            seconds_per_track=settings.job_timeout_seconds,
            check=stop.check,
        )
        counts = tracks.counts()
        report.end(progress.state() | counts)
        return ExitCode.SOME_FAILED if counts["failed"] else ExitCode.OK

    if not options.watch and not sum(tracks.counts().values()):
        raise InvalidParameter("PATH", "names no recording: no file has a suffix of one, such as .mp3")
    code = analyse_found()
    if options.watch:
        code = _watch(folders, tracks, stop, analyse_found, code)
    catalogue.end_run("finished")
    return code


def _watch(
    folders: list[Path], tracks: FoundTracks, stop: StopSignals, analyse_found: Callable[[], int], code: int
) -> int:
    """Label what arrives until a signal comes while nothing is in work; that is the normal end."""
    from ccmusic.batch.stop_signals import Stopped
    from ccmusic.batch.watch import arrivals

    groups = arrivals(folders, tracks.knows, stop.check)
    while True:
        try:
            files = next(groups)
        except Stopped:
            return code
        tracks.add(files)
        code = analyse_found()


def _walk(options: argparse.Namespace, tracks: FoundTracks, check: Callable[[], object], report: Report) -> list[Path]:
    """Write a row for each file, and return the folders among the paths."""
    from ccmusic.batch.walk import find_files

    def watched(files: Iterable[FoundFile]) -> Iterator[FoundFile]:
        for count, file in enumerate(files, 1):
            check()
            report.walk(count)
            yield file

    tracks.add(watched(find_files(options.paths, options.path_column)))
    folders = [Path(os.path.normpath(Path(path).absolute())) for path in options.paths if Path(path).is_dir()]
    if gone := tracks.mark_gone([os.fsencode(folder) for folder in folders]):
        warn(f"{gone} known tracks are no longer there")
    return folders


def _command(options: argparse.Namespace) -> str:
    """The command as people give it; bytes of names that are not UTF-8 are escapes."""
    words = ["ccmusic", "batch", *options.paths, "--out", str(options.out)]
    return shlex.join(words).encode("utf-8", "backslashreplace").decode()
