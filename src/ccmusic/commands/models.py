"""``ccmusic models``: list, import and fetch models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.messages import stage_printer
from ccmusic.errors import InvalidParameter, ModelError, ModelFileNotFound

if TYPE_CHECKING:
    from ccmusic.checkpoints.convert import Imported
    from ccmusic.models.card import Card


def add_command(commands: Any) -> None:
    """Add ``models`` and its actions to the command line."""
    models = commands.add_parser("models", help="list, import and fetch models")
    actions = models.add_subparsers(required=True, metavar="ACTION")

    listing = actions.add_parser(
        "list",
        help="list the available models",
        description="Lists the embedded model, the models of the model repository, and the imported ones.",
        epilog="Example: ccmusic models list",
    )
    listing.set_defaults(run=_list)

    importing = actions.add_parser(
        "import",
        help="convert a PyTorch checkpoint into a model directory",
        description="Converts an official checkpoint, compares the result with the checkpoint on real windows, and "
        "measures other precisions. The result goes into the cache, where CCMUSIC_MODEL=PATH finds it; the "
        "cache also keeps --features. With --out the result goes into that directory instead.",
        epilog="Example: ccmusic models import ./vgg19_bn_cqt/save.pt",
    )
    importing.add_later = _add_import_arguments
    importing.set_defaults(run=_import)

    pulling = actions.add_parser(
        "pull",
        help="fetch a checkpoint from a hub and import it",
        epilog="Example: ccmusic models pull ccmusic-database/music_genre",
    )
    pulling.add_argument(
        "reference",
        metavar="REFERENCE",
        help="such as ccmusic-database/music_genre or hf://OWNER/NAME/FOLDER@REVISION",
    )
    pulling.add_argument("--endpoint", help="address of a mirror (default: the setting)")
    pulling.add_argument("--offline", action="store_true", help="use only what was fetched before")
    pulling.add_argument("--quiet", action="store_true", help="show no progress")
    pulling.set_defaults(run=_pull)


def _add_import_arguments(parser: argparse.ArgumentParser) -> None:
    from ccmusic.checkpoints.state_dict import FEATURES  # imported late: it needs NumPy

    parser.add_argument("checkpoint", type=Path, metavar="PATH", help="save.pt, or its folder")
    parser.add_argument("--out", type=Path, metavar="DIR", help="model directory to make (default: in the cache)")
    parser.add_argument(
        "--features",
        choices=FEATURES,
        help="the spectrogram that it was trained on, if neither folder nor file is named for it",
    )
    parser.add_argument(
        "--audio", type=Path, metavar="DIR", help="recordings to measure the precisions on (default: the examples)"
    )
    parser.add_argument("--quiet", action="store_true", help="do not print the stages")


def _list(_: argparse.Namespace) -> int:
    from ccmusic.models.card import CARD_NAME, read_card
    from ccmusic.models.store import EMBEDDED_DIRECTORY
    from ccmusic.settings import read_settings

    settings = read_settings()
    places = [EMBEDDED_DIRECTORY]
    for parent in (settings.model_repository, settings.model_cache / "imported"):
        if parent is not None and parent.is_dir():
            places += sorted(path for path in parent.iterdir() if (path / CARD_NAME).is_file())
    for place in places:
        try:
            card = read_card(place / CARD_NAME)
        except ModelError as error:
            print(f"{place}: {error}")
            continue
        others = ", ".join(network.precision for network in card.alternatives)
        also = f" (also {others})" if others else ""
        genres = ", ".join(f"{taxonomy.name} ({taxonomy.level()})" for taxonomy in card.taxonomies)
        where = "embedded" if place == EMBEDDED_DIRECTORY else place
        print(f"{card.name} {card.version}  {card.sha256[:12]}  {card.precision}{also}  {genres}")
        print(f"    CCMUSIC_MODEL={where}")
    return ExitCode.OK


def _import(options: argparse.Namespace) -> int:
    from ccmusic.checkpoints.convert import import_checkpoint
    from ccmusic.checkpoints.prepare import cached
    from ccmusic.classifier import import_options
    from ccmusic.models.card import CARD_NAME, read_card
    from ccmusic.models.store import CHECKPOINT_NAME
    from ccmusic.settings import read_settings

    settings = read_settings(import_audio=options.audio)
    checkpoint: Path = options.checkpoint
    if checkpoint.is_dir():
        checkpoint /= CHECKPOINT_NAME
    if not checkpoint.is_file():
        raise ModelFileNotFound(str(checkpoint))
    checkpoint = checkpoint.absolute()
    on_stage = stage_printer(quiet=options.quiet)
    if options.out is not None:
        check_output_directory(options.out)
        imported = import_checkpoint(
            checkpoint,
            options.out.absolute(),
            features=options.features,
            audio=settings.import_audio,
            threads=settings.threads_per_worker,
            on_stage=on_stage,
        )
        print(_report(imported))
        return ExitCode.OK
    reports: list[str] = []
    directory = cached(
        checkpoint,
        import_options(settings),
        on_stage,
        features=options.features,
        on_imported=lambda imported: reports.append(_report(imported)),
    )
    if not reports:
        card = read_card(directory / CARD_NAME)
        known = f"{card.name} {card.version}: is in the cache already; delete {directory} to import it again"
        reports = [known, _table(card), _how_to_serve(directory)]
    print(*reports, sep="\n")
    return ExitCode.OK


def _pull(options: argparse.Namespace) -> int:
    from ccmusic.checkpoints.prepare import cached, fetch
    from ccmusic.classifier import import_options
    from ccmusic.models.card import CARD_NAME, read_card
    from ccmusic.models.store import locate
    from ccmusic.settings import read_settings

    settings = read_settings(hub_endpoint=options.endpoint, hub_offline=options.offline or None)
    location = locate(options.reference)
    if location.reference is None:
        raise InvalidParameter(
            "REFERENCE", f"must name a hub's repository, such as OWNER/NAME, not {location.configured}"
        )
    on_stage = stage_printer(quiet=options.quiet)
    how = import_options(settings, progress=not options.quiet)
    checkpoint = fetch(location, how, on_stage)
    directory = cached(checkpoint, how, on_stage)
    print(checkpoint, _table(read_card(directory / CARD_NAME)), _how_to_serve(directory), sep="\n")
    return ExitCode.OK


def check_output_directory(directory: Path) -> None:
    """Refuse a path that cannot become a model directory without a loss.

    Raises
    ------
    InvalidParameter
        It is a file, or a folder with other things than a model.
    """
    if directory.exists() and not directory.is_dir():
        raise InvalidParameter("--out", f"is {directory}, which is not a directory: name another")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / "card.json").is_file():
        raise InvalidParameter("--out", f"is {directory}, which holds other things than a model: name another")


def _report(imported: Imported) -> str:
    card = imported.card
    return "\n".join(
        (
            f"{card.name} {card.version}: {imported.n_keys} tensors, {imported.n_parameters:,} parameters, as expected",
            f"converted: on real windows within {imported.max_logit_error:.2g} of {imported.reference}'s logits",
            _table(card),
            _how_to_serve(imported.directory),
        )
    )


def _how_to_serve(directory: Path) -> str:
    return f"serve it:  CCMUSIC_MODEL={directory} ccmusic serve"


def _table(card: Card) -> str:
    """Return the precisions of a model as a table. A star marks the one that runs."""
    lines = [f"{'':2}{'precision':10} {'runtime':12} {'ms/window':>10} {'top-1':>7} {'shift':>8}  (against float32)"]
    for network in card.networks:
        mark = "* " if network is card else "  "
        agreement = network.agreement
        others = [other.agreement for other in card.networks if other.agreement is not None]
        own = agreement.milliseconds if agreement else others[0].milliseconds_float32 if others else float("nan")
        row = f"{mark}{network.precision:10} {network.runtime:12} {own:10.1f}"
        if agreement is not None:
            row += f" {agreement.top1:7.1%} {agreement.mean_probability_shift:8.5f}  of {agreement.windows} windows"
        lines.append(row)
    return "\n".join(lines)
