"""``ccmusic classify``: name the genre of recordings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccmusic.commands import arguments
from ccmusic.commands.answer_writers import WRITERS, Answers
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.messages import stage_printer, warn
from ccmusic.commands.recordings import find_recordings
from ccmusic.errors import CcmusicError, described

if TYPE_CHECKING:
    from ccmusic.audio.decode import DecodeLimits
    from ccmusic.audio.windows import WindowPlan
    from ccmusic.inference.backend import Execution
    from ccmusic.inference.pipeline import Pipeline
    from ccmusic.models.store import ModelLocation


def add_command(commands: Any) -> None:
    """Add ``classify`` to the command line."""
    parser = commands.add_parser(
        "classify",
        help="name the genre of recordings",
        description="Prints the likeliest genres of each recording. Of a folder, every recording in it and in its "
        "subfolders is classified. A recording that cannot be used gets an error, and the others continue. A pipe is "
        "read to its end first.",
        epilog="Example: ccmusic classify --csv examples > genres.csv",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE_OR_FOLDER", help="recordings, or folders of them; `-` is standard input"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", const="json", dest="form", help="print a JSON object per line")
    form.add_argument("--csv", action="store_const", const="csv", dest="form", help="print a row per recording")
    parser.add_argument("--top-k", type=int, metavar="N", help="number of genres (default: 5)")
    arguments.add_taxonomy(parser)
    arguments.add_windows(parser)
    arguments.add_model(parser)
    arguments.add_jobs(parser)
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=_run, form="table")


@dataclass(frozen=True)
class _Request:
    """What is requested of each recording; pickle takes it to other processes."""

    plan: WindowPlan
    taxonomy: str
    level: int
    top_k: int

    def answer(self, pipeline: Pipeline, source: Path | bytes) -> dict[str, Any]:
        """Return the answer as the API gives it, or the error."""
        try:
            result = pipeline.classify(source, self.plan)
            return result.as_json(taxonomy=self.taxonomy, level=self.level, top_k=self.top_k)
        except Exception as error:  # whatever it is, the other recordings continue
            return {"error": described(error)}


def _run(options: argparse.Namespace) -> int:
    # imported late: `--help` must not wait for ONNX Runtime
    from tqdm import tqdm

    from ccmusic.audio.windows import parse_windows
    from ccmusic.classifier import open_pipeline, prepare_model
    from ccmusic.inference.result import chosen_taxonomy, chosen_top_k
    from ccmusic.settings import read_settings

    n_jobs = arguments.jobs(options)
    settings = read_settings(model=options.model)
    plan = parse_windows(options.windows, settings.max_windows)
    found = find_recordings(options.files, settings.max_upload_bytes)
    location = prepare_model(
        settings, on_stage=stage_printer(quiet=options.quiet), on_caveat=warn, progress=not options.quiet
    )
    # Loaded here also when other processes classify: an unusable model is then one error, not one for each recording.
    pipeline = open_pipeline(settings, location, threads=settings.workers)
    pipeline.quiet = True
    taxonomy = chosen_taxonomy(options.taxonomy, pipeline.card.taxonomies)
    top_k = chosen_top_k(options.top_k, taxonomy, "--top-k")
    request = _Request(plan, taxonomy.name, taxonomy.level(options.level), top_k)
    sources = [source for _, source in found if not isinstance(source, CcmusicError)]
    n_jobs = min(n_jobs, len(sources))
    if n_jobs > 1:
        answers = _in_processes(sources, request, n_jobs, location, settings.local_limits, settings.device)
    else:
        answers = (request.answer(pipeline, source) for source in sources)

    def with_progress() -> Answers:
        # disable=None: shown on a terminal only
        with tqdm(total=len(found), unit="file", disable=True if options.quiet else None, leave=False) as bar:
            for name, source in found:
                answer = {"error": described(source)} if isinstance(source, CcmusicError) else next(answers)
                bar.clear()  # the answer is printed on this line
                yield name, answer
                bar.update()

    with closing(answers):
        n_failed = WRITERS[options.form](with_progress(), sys.stdout, top_k)
    if n_failed:
        warn(f"{n_failed} of {len(found)} recordings could not be classified")
    return ExitCode.SOME_FAILED if n_failed else ExitCode.OK


# In other processes: each has a pipeline of its own, whose network runs on one thread. The answers are the same to the
# last bit as with more threads.

_pipelines: list[Pipeline] = []


def _in_processes(
    sources: list[Path | bytes],
    request: _Request,
    n_jobs: int,
    location: ModelLocation,
    limits: DecodeLimits,
    device: Any,
) -> Generator[dict[str, Any]]:
    from ccmusic.inference.backend import Execution
    from ccmusic.parallel import ParallelMap

    parallel = ParallelMap(_classify, n_jobs, _load, (location, limits, Execution(threads=1, device=device)))
    for answer in parallel.run_in_order([(request, source) for source in sources]):
        yield {"error": described(answer)} if isinstance(answer, Exception) else answer


def _load(location: ModelLocation, limits: DecodeLimits, execution: Execution) -> None:
    from ccmusic.inference.pipeline import Pipeline

    _pipelines[:] = [Pipeline.load(location, limits, execution)]
    _pipelines[0].quiet = True


def _classify(task: tuple[_Request, Path | bytes]) -> dict[str, Any]:
    request, source = task
    return request.answer(_pipelines[0], source)
