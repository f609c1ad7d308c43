"""``ccmusic gate``: wait until a service is healthy and check its answers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ccmusic.commands.arguments import DEFAULT_URL
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.operations.gate import GateOutcome, gate

EXIT_CODES = {
    GateOutcome.GREEN: ExitCode.OK,
    GateOutcome.NOT_GREEN: ExitCode.NOT_GREEN,
    GateOutcome.WRONG_ANSWER: ExitCode.WRONG_ANSWER,
    GateOutcome.UNREACHABLE: ExitCode.UNREACHABLE,
}


def add_command(commands: Any) -> None:
    """Add ``gate`` to the command line."""
    parser = commands.add_parser(
        "gate",
        help="wait until a service is healthy and answers correctly",
        description="The last step of a deployment: waits until the service is ready and healthy (/readyz and "
        "/health), and then compares the answers to the golden clips with the card of the model.",
        epilog="Example: ccmusic gate http://127.0.0.1:7860 --timeout 60",
    )
    parser.add_argument("url", nargs="?", default=DEFAULT_URL, help=f"address of the service (default: {DEFAULT_URL})")
    parser.add_argument(
        "--timeout", type=float, default=120.0, metavar="S", help="seconds for everything together (default: 120)"
    )
    parser.add_argument("--no-golden", action="store_false", dest="golden", help="do not send the golden clips")
    parser.add_argument("--card", type=Path, metavar="PATH", help="card.json of the model that must be serving")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return EXIT_CODES[gate(options.url, timeout_seconds=options.timeout, golden=options.golden, card=options.card)]
