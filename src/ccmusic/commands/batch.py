"""``ccmusic batch``: label a whole library, and look at what is known about it."""

from __future__ import annotations

from typing import Any

from ccmusic.commands import batch_duplicates, batch_export, batch_report, batch_run, batch_status

ACTIONS = {
    "run": batch_run,
    "status": batch_status,
    "export": batch_export,
    "report": batch_report,
    "duplicates": batch_duplicates,
}
"""Each action, and the module that adds its arguments."""


def add_command(commands: Any) -> None:
    """Add ``batch`` and its actions to the command line."""
    parser = commands.add_parser("batch", help="label a whole library, with a catalogue that survives interruptions")
    parser.default_action = "run"  # `ccmusic batch PATH ...`
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, module in ACTIONS.items():
        module.add_action(actions, name)
