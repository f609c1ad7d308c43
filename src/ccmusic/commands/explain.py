"""``ccmusic explain``: why a recording got its genre."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ccmusic.errors import CcmusicError, InvalidParameter

if TYPE_CHECKING:
    from ccmusic.inference.occlusion import Explanation
    from ccmusic.inference.result import TrackResult

N_PARTS = 3
"""So many of the strongest parts are printed."""


def add_commands(commands: Any) -> None:
    """Register ``explain`` with the command line's subparsers."""
    explain = commands.add_parser("explain", help="say which part of a recording speaks for its genre")
    explain.add_argument("file", type=Path, metavar="FILE")
    explain.add_argument("--window", type=int, metavar="N", help="this window, counted from 1 (default: the clearest)")
    explain.add_argument("--genre", metavar="G", help="this genre, such as Dance_pop (default: the likeliest)")
    explain.add_argument(
        "--windows", default="whole", metavar="W", help="whole, first30, or how many windows (default: whole)"
    )
    explain.add_argument("--out", type=Path, metavar="PATH", help="write a picture (.png) or every number (.json)")
    explain.add_argument("--model", help="embedded, a model directory or a checkpoint (default: the setting)")
    explain.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> int:
    # Here and not above: `--help` need not wait for the network's runtime.
    from ccmusic.audio.windows import parse_windows
    from ccmusic.classifier import open_pipeline
    from ccmusic.inference.occlusion import ExplainPlan
    from ccmusic.settings import read_settings

    if options.out is not None and options.out.suffix not in (".png", ".json"):
        raise InvalidParameter("--out", "must end in .png or .json")
    settings = read_settings(model=options.model)
    plan = parse_windows(options.windows, settings.max_windows)
    explain = ExplainPlan(window=None if options.window is None else options.window - 1, genre=options.genre)
    pipeline = open_pipeline(settings, threads=settings.workers, quiet=True)
    try:
        result = pipeline.classify(options.file, plan, explain=explain)
    except InvalidParameter:
        raise
    except CcmusicError as error:
        print(f"ccmusic: {options.file}: {error}", file=sys.stderr)
        return 1
    (saliency,) = result.explanations
    print("\n".join(_lines(saliency, result)))
    if options.out is not None:
        _write(options.out, saliency)
    return 0


def _lines(saliency: Explanation, result: TrackResult) -> list[str]:
    window = f"window {saliency.window + 1} of {len(result.windows)}"
    lines = [
        saliency.words(),
        f"{window}, {saliency.start_seconds:.1f} to {saliency.end_seconds:.1f} s: {saliency.probability:.1%}",
    ]
    octaves, blocks = saliency.without.shape
    for place in np.argsort(-saliency.evidence, axis=None, kind="stable")[: min(N_PARTS, octaves * blocks)]:
        octave, block = divmod(int(place), blocks)
        start, end = saliency.edges_seconds[block : block + 2]
        lines.append(
            f"  without C{octave + 1} to B{octave + 1}, {start:.1f} to {end:.1f} s: "
            f"{saliency.without[octave, block]:.1%}"
        )
    return lines


def _write(path: Path, saliency: Explanation) -> None:
    if path.suffix == ".json":
        path.write_text(json.dumps(saliency.as_json(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        return
    from ccmusic.ui.explanation import explanation_png

    path.write_bytes(explanation_png(saliency))
