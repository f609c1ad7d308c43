"""``ccmusic serve``: start the page and the HTTP API."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from typing import Any

from ccmusic.commands import arguments
from ccmusic.commands.server_run import run_server

# Measured on Linux with Python 3.11: the most that a front process had from its start until it was idle.
MEMORY_KILOBYTES = 2 * 2**20
"""Address space. It had 1.2 to 1.4 GB, most of it reserved for the stack and the heap of each thread."""
THREADS = 20
"""It had 16 with one worker and 19 with four."""
DESCRIPTORS = 40
DESCRIPTORS_OF_WORKER = 10
DESCRIPTORS_OF_PAGE = 10
DESCRIPTORS_OF_MANAGEMENT = 10
"""It had 30, 36 and 56 with 1, 2 and 4 workers, and 36 with one worker, page and management port. This leaves room for
eight connections below the share of the limit at which the check `descriptors` warns."""


def add_command(commands: Any) -> None:
    """Add ``serve`` to the command line."""
    parser = commands.add_parser(
        "serve",
        help="start the page and the HTTP API",
        description="Serves until SIGTERM or Ctrl-C. SIGTERM answers what was accepted, and then ends with exit code "
        "0. All other settings are CCMUSIC_* variables; `ccmusic settings` lists them.",
        epilog="Example: ccmusic serve --port 8080 --workers 2",
    )
    parser.add_argument("--host", help="address to listen on (default: the setting, 0.0.0.0)")
    parser.add_argument("--port", type=int, help="port; 0 lets the system choose (default: the setting, 7860)")
    arguments.add_model(parser)
    parser.add_argument("--workers", type=int, help="number of worker processes (default: the setting, one per core)")
    parser.add_argument(
        "--no-page", action="store_const", const=False, dest="page", help="serve the API without the page"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    started_at = time.monotonic()
    from ccmusic.process.start_limits import require_limits, require_threads

    # before the imports, which would end half-way
    require_limits(memory_kilobytes=MEMORY_KILOBYTES, file_kilobytes=1)
    require_threads(THREADS)
    from ccmusic.serving.server import serve
    from ccmusic.settings import read_settings
    from ccmusic.ui.mount import page_attached

    settings = read_settings(
        host=options.host, port=options.port, model=options.model, workers=options.workers, page=options.page
    )
    require_limits(
        descriptors=DESCRIPTORS
        + DESCRIPTORS_OF_WORKER * settings.workers
        + DESCRIPTORS_OF_PAGE * settings.page
        + DESCRIPTORS_OF_MANAGEMENT * (settings.management_port is not None),
        file_kilobytes=-(-settings.max_upload_bytes // 1024),  # the parser of forms may use a temporary file
    )
    logging.getLogger().setLevel(settings.log_level.upper())
    colours = sys.stderr.isatty()  # asked before the log passes through a buffer
    return run_server(
        lambda announce: serve(settings, started_at, page_attached, announce=announce, colours=colours),
        "the settings are --host and --port, CCMUSIC_MANAGEMENT_HOST and CCMUSIC_MANAGEMENT_PORT",
    )
