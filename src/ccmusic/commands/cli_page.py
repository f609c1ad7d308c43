"""docs/cli.md: every command and its arguments, written from the parsers, so that the page cannot be wrong."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.lazy_parser import LazyParser

HEAD = """# Command line

Written by `ccmusic --help-markdown` from the parsers of the commands. `ccmusic COMMAND --help` prints the same.

"""


def cli_page(parser: argparse.ArgumentParser) -> str:
    """Describe a parser with its commands, and the exit codes, in Markdown."""
    commands = list(_commands(parser))
    contents = "".join(f"* [`{command.prog}`](#{_anchor(command.prog)}): {help_}\n" for command, help_ in commands)
    rows = "".join(f"| {code.value} | {code.meaning} |\n" for code in ExitCode)
    exit_codes = f"## Exit codes\n\n| code | meaning |\n|---|---|\n{rows}"
    return HEAD + contents + "\n" + "".join(map(_section, (command for command, _ in commands))) + exit_codes


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Yield each command, and the actions of a command that has some, with the line that ``--help`` lists it by."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        lines = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, command in action.choices.items():
            if any(isinstance(inner, argparse._SubParsersAction) for inner in command._actions):
                yield from _commands(command)
            else:
                yield command, lines[name]


def _anchor(title: str) -> str:
    return title.replace(" ", "-")


def _section(command: argparse.ArgumentParser) -> str:
    if isinstance(command, LazyParser):
        command.complete()
    arguments = [action for action in command._actions if not isinstance(action, argparse._HelpAction)]
    usage = " ".join([command.prog, *map(_usage, sorted(arguments, key=lambda action: bool(action.option_strings)))])
    parts = [f"## {command.prog}", f"```\n{usage}\n```"]
    if command.description:
        parts.append(command.description)
    if arguments:
        rows = "".join(f"| `{_name(action)}` | {_cell(action)} |\n" for action in arguments)
        parts.append("| argument | meaning |\n|---|---|\n" + rows.rstrip("\n"))
    if command.epilog:
        parts.append(f"Example: `{command.epilog.removeprefix('Example: ')}`")
    return "\n\n".join(parts) + "\n\n"


def _usage(action: argparse.Action) -> str:
    if not action.option_strings:
        return {"+": f"{_value(action)} ...", "?": f"[{_value(action)}]"}.get(str(action.nargs), _value(action))
    return _name(action) if action.required else f"[{_name(action)}]"


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        return _value(action)
    return action.option_strings[0] + (f" {_value(action)}" if action.nargs != 0 else "")


def _value(action: argparse.Action) -> str:
    if action.choices is not None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    name = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    return name if isinstance(name, str) else " ".join(name)


def _cell(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%").replace("|", "\\|")
