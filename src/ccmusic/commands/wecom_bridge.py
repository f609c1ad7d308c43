"""``ccmusic wecom-bridge``: the flags, and the server's life."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

EXIT_OK = 0
EXIT_ADDRESS = 4


def add_commands(commands: Any) -> None:
    """Register ``wecom-bridge`` with the command line's subparsers."""
    parser = commands.add_parser(
        "wecom-bridge",
        help="bring Alertmanager's alerts to a WeCom group robot",
        description="Takes Alertmanager's webhooks and posts to a WeCom group robot; by mail when WeCom does not take "
        "them. Every flag is also a variable: CCMUSIC_BRIDGE_ROBOT_URL_FILE for --robot-url-file, and so on.",
    )
    parser.add_argument("--host", help="address to listen on (default: 0.0.0.0)")
    parser.add_argument("--port", type=int, help="port (default: 7861; 0: any free one)")
    parser.add_argument("--robot-url-file", metavar="FILE", help="the robot's key or whole webhook URL; required")
    parser.add_argument("--token-file", metavar="FILE", help="bearer token that callers must have (default: none)")
    parser.add_argument("--mention", metavar="ID,...", help="WeCom users whom a critical alert mentions, or all")
    parser.add_argument("--timezone", metavar="ZONE", help="of the times in messages (default: Asia/Shanghai)")
    parser.add_argument(
        "--deadline-seconds", type=float, metavar="S", help="for WeCom, before the mail goes out (default: 30)"
    )
    parser.add_argument(
        "--per-minute", type=int, metavar="N", help="most messages to the robot in a minute (default: 20, WeCom's own)"
    )
    parser.add_argument(
        "--remember-seconds", type=float, metavar="S", help="no second message for the same within (default: 600)"
    )
    parser.add_argument(
        "--heartbeat-seconds", type=float, metavar="S", help="silence that is reported (default: 300; 0: off)"
    )
    parser.add_argument("--smtp-host", metavar="HOST", help="mail server of the second channel (default: none)")
    parser.add_argument("--smtp-port", type=int, metavar="N", help="its port (default: 587)")
    parser.add_argument("--smtp-security", choices=("starttls", "tls", "none"), help="default: starttls")
    parser.add_argument("--smtp-from", metavar="ADDRESS", help="sender")
    parser.add_argument("--smtp-to", metavar="ADDRESS,...", help="recipients")
    parser.add_argument("--smtp-user", metavar="NAME", help="for a server that asks for one")
    parser.add_argument("--smtp-password-file", metavar="FILE", help="the user's password")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    # Here and not above: a command line should start at once.
    from ccmusic.alerting.server import serve
    from ccmusic.alerting.settings import BridgeSettings, read_bridge_settings

    settings = read_bridge_settings(**{name: getattr(options, name) for name in BridgeSettings.model_fields})
    logging.getLogger("ccmusic.alerting").setLevel(logging.INFO)
    try:
        serve(settings)
    except OSError as error:
        print(
            f"ccmusic: cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "stop what holds it, or choose another with --port",
            file=sys.stderr,
        )
        return EXIT_ADDRESS
    return EXIT_OK
