"""``ccmusic explain``: why a recording got its genre."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccmusic.commands import arguments
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.messages import warn
from ccmusic.commands.recordings import named
from ccmusic.errors import CcmusicError, InvalidParameter

if TYPE_CHECKING:
    from ccmusic.inference.occlusion import Explanation

N_PARTS = 3
"""Number of the strongest parts that are printed."""


def add_command(commands: Any) -> None:
    """Add ``explain`` to the command line."""
    parser = commands.add_parser(
        "explain",
        help="show which part of a recording supports its genre",
        description="Silences one part of a window after the other, and prints how much less likely the genre becomes. "
        "A part is an octave during a stretch of time.",
        epilog="Example: ccmusic explain song.mp3 --out why.png",
    )
    parser.add_argument("file", metavar="FILE", help="the recording; `-` is standard input")
    parser.add_argument("--window", type=int, metavar="N", help="window, counted from 1 (default: the clearest)")
    parser.add_argument(
        "--genre", metavar="G", help="genre of the taxonomy and level, such as Dance_pop (default: the likeliest)"
    )
    arguments.add_taxonomy(parser)
    arguments.add_windows(parser)
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="also write a picture (.png) or all numbers (.json) to this file"
    )
    arguments.add_model(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    # imported late: `--help` must not wait for ONNX Runtime
    from ccmusic.audio.windows import parse_windows
    from ccmusic.classifier import open_pipeline
    from ccmusic.inference.occlusion import ExplainPlan
    from ccmusic.settings import read_settings

    if options.out is not None and options.out.suffix not in (".png", ".json"):
        raise InvalidParameter("--out", "must end in .png or .json")
    settings = read_settings(model=options.model)
    plan = parse_windows(options.windows, settings.max_windows)
    explain = ExplainPlan(
        window=None if options.window is None else options.window - 1,
        genre=options.genre,
        taxonomy=options.taxonomy,
        level=options.level,
    )
    source = named(options.file, settings.max_upload_bytes).source
    if isinstance(source, CcmusicError):
        return _failed(options.file, source)
    pipeline = open_pipeline(settings, threads=settings.workers, on_caveat=warn)
    pipeline.quiet = True
    try:
        result = pipeline.classify(source, plan, explain=explain)
    except CcmusicError as error:
        if isinstance(error, InvalidParameter) and error.name != "file":
            raise  # an argument is not allowed
        return _failed(options.file, error)
    (explanation,) = result.explanations
    print("\n".join(explanation_lines(explanation, len(result.windows))))
    if options.out is not None:
        _write(options.out, explanation)
    return ExitCode.OK


def _failed(file: str, error: CcmusicError) -> int:
    warn(f"{file}: {error}")
    return ExitCode.SOME_FAILED


def explanation_lines(explanation: Explanation, n_windows: int) -> list[str]:
    """Return what is printed of an explanation: a sentence, the window, and its `N_PARTS` strongest parts."""
    import numpy as np

    lines = [
        explanation.text(),
        f"window {explanation.window + 1} of {n_windows}, {explanation.start_seconds:.1f} to "
        f"{explanation.end_seconds:.1f} s: {explanation.probability:.1%}",
    ]
    _, n_blocks = explanation.without.shape
    for place in np.argsort(-explanation.evidence, axis=None, kind="stable")[:N_PARTS]:
        octave, block = divmod(int(place), n_blocks)
        start, end = explanation.edges_seconds[block : block + 2]
        lines.append(
            f"  without C{octave + 1} to B{octave + 1}, {start:.1f} to {end:.1f} s: "
            f"{explanation.without[octave, block]:.1%}"
        )
    return lines


def _write(path: Path, explanation: Explanation) -> None:
    if path.suffix == ".json":
        path.write_text(json.dumps(explanation.as_json(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        return
    from ccmusic.ui.explanation import explanation_png

    path.write_bytes(explanation_png(explanation))
