"""``ccmusic wecom-bridge``: send Alertmanager's alerts to a WeCom group robot."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from ccmusic.commands.server_run import run_server

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


_NUMBERS: dict[Any, type] = {int: int, float: float}


def add_command(commands: Any) -> None:
    """Add ``wecom-bridge`` to the command line."""
    parser = commands.add_parser(
        "wecom-bridge",
        help="send Alertmanager's alerts to a WeCom group robot",
        description="Receives Alertmanager's webhooks and posts them to a WeCom group robot. If WeCom does not accept "
        "a message, it is sent by mail. Each flag is also a variable, such as CCMUSIC_BRIDGE_ROBOT_URL_FILE.",
        epilog="Example: ccmusic wecom-bridge --robot-url-file robot --mention zhangsan",
    )
    parser.add_later = _add_settings
    parser.set_defaults(run=_run)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each field of `BridgeSettings`. The settings check the values, whichever way they come."""
    from ccmusic.alerting.settings import BridgeSettings

    for name, field in BridgeSettings.model_fields.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=_NUMBERS.get(field.annotation, str),
            choices=get_args(field.annotation) if get_origin(field.annotation) is Literal else None,
            metavar=None if get_origin(field.annotation) is Literal else _metavar(name, field),
            help=f"{(field.description or '').rstrip('.').replace('%', '%%')} ({_default(field)})",
        )


def _metavar(name: str, field: FieldInfo) -> str:
    """Return what the help shows for the value: a number, or the last word of the name."""
    if field.annotation in _NUMBERS:
        return "N"
    return name.rpartition("_")[2].upper() + (",..." if isinstance(field.default, tuple) else "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "default: none" if field.default in (None, ()) else f"default: {field.default}"


def _run(options: argparse.Namespace) -> int:
    # imported late: `--help` must be fast
    from ccmusic.process.start_limits import require_limits, require_threads

    # it was measured with 11 descriptors, 7 threads and 0.55 GB of address space when idle
    require_limits(descriptors=32, memory_kilobytes=2**20)
    require_threads(10)
    from ccmusic.alerting.server import serve
    from ccmusic.alerting.settings import BridgeSettings, read_bridge_settings

    settings = read_bridge_settings(**{name: getattr(options, name) for name in BridgeSettings.model_fields})
    logging.getLogger("ccmusic.alerting").setLevel(logging.INFO)
    return run_server(lambda announce: serve(settings, announce), "the settings are --host and --port")
