"""``ccmusic doctor``: check this machine and a running service, or inject a fault into the service."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from ccmusic.commands.arguments import DEFAULT_URL
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.errors import InvalidParameter
from ccmusic.operations.doctor import diagnose
from ccmusic.operations.drill import DrillOutcome, run_drill
from ccmusic.process.secret_file import read_secret

EXIT_CODES = {
    DrillOutcome.PASSED: ExitCode.OK,
    DrillOutcome.NOT_INJECTED: ExitCode.DOCTOR_FAILED,
    DrillOutcome.NOT_NOTICED: ExitCode.NOT_NOTICED,
    DrillOutcome.NOT_RECOVERED: ExitCode.NOT_RECOVERED,
}


def add_command(commands: Any) -> None:
    """Add ``doctor`` to the command line."""
    parser = commands.add_parser(
        "doctor",
        help="check this machine and a running service, or try the service's fault detectors",
        description="Prints a line per check: ok, warn or FAIL, and what to do next. With --inject it causes a fault "
        "in a running service, and reports when the service notices it and when it has recovered. The service must "
        "allow that with CCMUSIC_FAULT_INJECTION.",
        epilog="Example: ccmusic doctor --url http://127.0.0.1:7860 --inject kill --token-file token",
    )
    parser.add_argument("--url", help="address of a running service, which is checked as well")
    parser.add_argument("--inject", metavar="FAULT", help="cause this fault in the service at --url")
    parser.add_argument("--worker", type=int, default=0, metavar="I", help="number of the worker (default: 0)")
    parser.add_argument("--size", type=float, metavar="X", help="size of the fault (default: depends on the fault)")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds to notice and to recover (default: 60)"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file with the admin token (default: CCMUSIC_ADMIN_TOKEN)"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.inject is None:
        return ExitCode.OK if diagnose(options.url) else ExitCode.DOCTOR_FAILED
    try:
        token = os.environ.get("CCMUSIC_ADMIN_TOKEN", "")
        if options.token_file is not None:
            token = read_secret(options.token_file) or ""
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidParameter("--token-file", f"cannot be read: {error}") from error
    outcome = run_drill(
        options.url or DEFAULT_URL,
        options.inject,
        token,
        worker=options.worker,
        size=options.size,
        timeout_seconds=options.timeout,
    )
    return EXIT_CODES[outcome]
