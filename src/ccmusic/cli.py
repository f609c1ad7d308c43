"""The command line: ``ccmusic classify``, ``serve``, ``models``, ``train``, ``evaluate``, ``gate``,
``doctor``, ``wecom-bridge``, ``metrics``, ``settings``.

Exit codes: 0 all is well; 1 a recording could not be used; 2 the command's words are off; 3 the configuration is
refused; 4 the address cannot be listened on; 5 the model cannot be loaded. ``gate``: 6 not green before its deadline,
7 its golden answer is wrong, 8 not reachable. ``doctor``: 9 something is wrong, 10 an injected fault was not noticed,
11 the service did not recover from it.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from ccmusic.commands import evaluate as evaluation
from ccmusic.commands import explain, models, wecom_bridge
from ccmusic.commands import train as finetuning
from ccmusic.errors import CcmusicError, InvalidParameter, InvalidSettings, ModelError
from ccmusic.operations import doctor, gate
from ccmusic.version import __version__

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_SETTINGS = 3
EXIT_ADDRESS = 4
EXIT_MODEL = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        code: int = options.run(options)
    except InvalidSettings as error:
        print(f"ccmusic: configuration: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    except InvalidParameter as error:
        print(f"ccmusic: {error}", file=sys.stderr)
        return EXIT_USAGE
    except ModelError as error:
        print(f"ccmusic: model: {error.sentence}", file=sys.stderr)
        return EXIT_MODEL
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone: `ccmusic classify ... | head`
        sys.stderr.close()
        return EXIT_OK
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ccmusic", description="Names a recording's genre.")
    parser.add_argument("--version", action="version", version=f"ccmusic {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    classify = commands.add_parser("classify", help="name the genre of recordings")
    classify.add_argument("files", nargs="+", type=Path, metavar="FILE")
    form = classify.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", const="json", dest="form", help="one JSON object per line")
    form.add_argument("--csv", action="store_const", const="csv", dest="form", help="one row per recording")
    classify.add_argument("--top-k", type=int, metavar="N", help="how many genres (default: 5)")
    classify.add_argument(
        "--taxonomy", metavar="T", help="ccmusic, world or own, if the model has it (default: its first)"
    )
    classify.add_argument(
        "--level", type=int, metavar="N", help="level of the taxonomy: 16, 9 or 2 (default: the finest)"
    )
    classify.add_argument(
        "--windows", default="whole", metavar="W", help="whole, first30, or how many windows (default: whole)"
    )
    classify.add_argument("--model", help="embedded, a model directory or a checkpoint (default: the setting)")
    classify.add_argument("--quiet", action="store_true", help="no progress bar")
    classify.set_defaults(run=_classify, form="table")

    serve = commands.add_parser("serve", help="start the page and the HTTP API")
    serve.add_argument("--host", help="address to listen on (default: the setting, 0.0.0.0)")
    serve.add_argument("--port", type=int, help="port (default: the setting, 7860; 0: any free one)")
    serve.add_argument("--model", help="embedded, a model directory or a checkpoint (default: the setting)")
    serve.add_argument("--workers", type=int, help="worker processes (default: the setting, one per core)")
    serve.add_argument("--no-page", action="store_const", const=False, dest="page", help="the API alone")
    serve.set_defaults(run=_serve)

    explain.add_commands(commands)
    models.add_commands(commands)
    finetuning.add_commands(commands)
    evaluation.add_commands(commands)
    gate.add_commands(commands)
    doctor.add_commands(commands)
    wecom_bridge.add_commands(commands)

    metrics = commands.add_parser("metrics", help="list every metric with its labels and meaning, in Markdown")
    metrics.set_defaults(run=_metrics)

    settings = commands.add_parser("settings", help="list every setting, its value now and what it is for")
    settings.set_defaults(run=_settings)
    return parser


# classify


def _classify(options: argparse.Namespace) -> int:
    # Here and not above: `--help` and a refused setting need not wait for the network's runtime.
    from tqdm import tqdm

    from ccmusic.audio.windows import parse_windows
    from ccmusic.classifier import open_pipeline
    from ccmusic.inference.result import chosen_taxonomy, chosen_top_k
    from ccmusic.settings import read_settings

    settings = read_settings(model=options.model)
    plan = parse_windows(options.windows, settings.max_windows)
    pipeline = open_pipeline(settings, threads=settings.workers, quiet=options.quiet)
    taxonomy = chosen_taxonomy(options.taxonomy, pipeline.card.taxonomies)
    level = taxonomy.level(options.level)
    top_k = chosen_top_k(options.top_k, taxonomy, "--top-k")

    def answer(file: Path) -> dict[str, Any]:
        try:
            result = pipeline.classify(file, plan)
            return result.as_json(taxonomy=taxonomy.name, level=level, top_k=top_k)
        except CcmusicError as error:
            return {"error": {"type": error.slug, "detail": str(error)}}

    def answers() -> Answers:
        # disable=None: shown on a terminal only
        with tqdm(total=len(options.files), unit="file", disable=True if options.quiet else None, leave=False) as bar:
            for file in options.files:
                result = answer(file)
                bar.clear()  # the line is wanted for the answer, which is written before we go on
                yield file, result
                bar.update()

    n_failed = _WRITERS[options.form](answers(), sys.stdout, top_k)
    if n_failed:
        print(f"ccmusic: {n_failed} of {len(options.files)} recordings could not be classified", file=sys.stderr)
    return EXIT_SOME_FAILED if n_failed else EXIT_OK


Answers = Iterator[tuple[Path, dict[str, Any]]]


def _write_json(answers: Answers, out: TextIO, _: int) -> int:
    n_failed = 0
    for file, answer in answers:
        n_failed += "error" in answer
        print(json.dumps({"file": str(file), **answer}, ensure_ascii=False), file=out, flush=True)
    return n_failed


def _write_csv(answers: Answers, out: TextIO, top_k: int) -> int:
    n_failed = 0
    ranks = [f"{name}_{rank}" for rank in range(1, top_k + 1) for name in ("genre", "probability")]
    writer = csv.writer(out)
    writer.writerow(["file", "duration_seconds", "classic_probability", "flags", *ranks, "error"])
    for file, answer in answers:
        if "error" in answer:
            n_failed += 1
            writer.writerow([file, "", "", "", *[""] * len(ranks), "{type}: {detail}".format(**answer["error"])])
            continue
        cells = [cell for p in answer["predictions"] for cell in (p["genre"], p["probability"])]
        cells += [""] * (len(ranks) - len(cells))
        classic = _classic(answer)
        row = [file, answer["duration_seconds"], "" if classic is None else classic, " ".join(answer["flags"])]
        writer.writerow([*row, *cells, ""])
    return n_failed


def _write_table(answers: Answers, out: TextIO, _: int) -> int:
    n_failed = 0
    for file, answer in answers:
        if "error" in answer:
            n_failed += 1
            print(
                f"{_fit(file.name, 34)}  {answer['error']['type']}: {answer['error']['detail']}", file=out, flush=True
            )
            continue
        likeliest = ", ".join(f"{p['label_en']} {100 * p['probability']:.0f}%" for p in answer["predictions"])
        told = dict.fromkeys([*answer["flags"], *filter(None, [answer["odd"]])])  # silence is both
        flags = f"  [{', '.join(told)}]" if told else ""
        if (level := answer.get("sure_level")) and level != max(map(int, answer["levels"])):
            flags = f"  [sure only of {answer['levels'][str(level)][0]['label_en']}]{flags}"
        classic = _classic(answer)
        side = "" if classic is None else f"{f'classical {100 * classic:.0f}%':>14}  "
        print(
            f"{_fit(file.name, 34)} {answer['duration_seconds']:7.1f} s  {side}{likeliest}{flags}",
            file=out,
            flush=True,
        )
    return n_failed


def _classic(answer: dict[str, Any]) -> float | None:
    """Share of the classical side; None in a taxonomy without sides."""
    if answer["taxonomy"] != "ccmusic":
        return None
    return next(float(p["probability"]) for p in answer["levels"]["2"] if p["genre"] == "Classic")


def _fit(text: str, width: int) -> str:
    """Pad or shorten to so many terminal columns; Chinese characters take two."""
    columns = 0
    kept = ""
    for character in text:
        columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if columns > width:
            return kept[:-1] + "…"
        kept += character
    return kept + " " * (width - columns)


_WRITERS = {"json": _write_json, "csv": _write_csv, "table": _write_table}


# serve


def _serve(options: argparse.Namespace) -> int:
    started_at = time.monotonic()
    from ccmusic.serving.server import serve
    from ccmusic.settings import read_settings
    from ccmusic.ui.mount import page_attached

    settings = read_settings(
        host=options.host, port=options.port, model=options.model, workers=options.workers, page=options.page
    )
    logging.getLogger().setLevel(settings.log_level.upper())
    try:
        serve(settings, started_at, page_attached)
    except OSError as error:
        addresses = f"{settings.host}:{settings.port}"
        if settings.management_port is not None:
            addresses += f" or {settings.management_host}:{settings.management_port}"
        print(
            f"ccmusic: cannot listen on {addresses}: {error.strerror}; "
            "stop what holds it, or choose another with --port or CCMUSIC_PORT (CCMUSIC_MANAGEMENT_PORT)",
            file=sys.stderr,
        )
        return EXIT_ADDRESS
    return EXIT_OK


def _metrics(_: argparse.Namespace) -> int:
    from ccmusic.monitoring.metrics_page import reference_page
    from ccmusic.serving.app import create_app
    from ccmusic.settings import read_settings

    print(reference_page(create_app(read_settings()).state.service.metrics.registry), end="")
    return EXIT_OK


def _settings(_: argparse.Namespace) -> int:
    from ccmusic.settings import read_settings

    settings = read_settings()
    for name, field in type(settings).model_fields.items():
        print(f"CCMUSIC_{name.upper()}={getattr(settings, name)}")
        if field.description:
            print(f"    {field.description}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
