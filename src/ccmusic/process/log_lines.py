"""One line of the log for one message, whatever strangers put into it.

A line end in a file name would begin a line that looks like ours, an escape sequence would change the terminal of
those who read the log, and a megabyte in a header would hide everything else.
"""

from __future__ import annotations

import logging
import re
import traceback
from types import TracebackType
from typing import Any

MAX_TEXT = 2000
"""Most characters of a value in a message."""
MAX_LINE_BYTES = 16 * 1024
"""Most bytes of a line, also of other programs."""

# also what reverses the direction of text on a screen
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_BYTES = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_COLOURED = re.compile(rb"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]|\x1b(?!\[[0-9;]{0,10}m)")
_TOO_LONG = re.compile(rb"[^\n]{%d}" % (MAX_LINE_BYTES + 1))


class Lines(str):
    """A text of our own in a message, such as a stack, whose line ends are kept."""

    __slots__ = ()


def one_line(text: str, max_length: int = MAX_TEXT) -> str:
    """The text on one line: control characters become escapes, and what is too long is cut."""
    if len(text) > max_length:
        text = f"{text[:max_length]}... ({len(text)} characters)"
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


class _Shown:
    """A value of a message that is no number: its texts are on one line."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return one_line(str(self._value))

    def __repr__(self) -> str:
        return one_line(repr(self._value))


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, int | float | Lines):
        return value
    return one_line(value) if isinstance(value, str) else _Shown(value)


class OneLineRecord(logging.LogRecord):
    """A record of the log whose values and errors are on one line each. The text of the message itself is ours."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if isinstance(self.args, tuple):
            self.args = tuple(map(_shown, self.args))
        elif self.args:
            self.args = {name: _shown(value) for name, value in self.args.items()}
        if self.exc_info and self.exc_info[0] is not None:
            self.exc_text = traceback_text(*self.exc_info)


def traceback_text(
    kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> str | None:
    """A traceback in which the text of each error is on one line."""
    if kind is None or error is None:
        return None
    found = traceback.TracebackException(kind, error, trace, compact=True)
    left: list[traceback.TracebackException | None] = [found]
    while left:
        if (each := left.pop()) is not None:
            each._str = one_line(each._str)  # type: ignore[attr-defined]
            left += [each.__cause__, each.__context__, *(getattr(each, "exceptions", None) or ())]
    return "".join(found.format()).rstrip("\n")


def guard_log() -> None:
    """Let every message of this process become such a record."""
    logging.setLogRecordFactory(OneLineRecord)


def clean_lines(block: bytes, *, colours: bool = False) -> bytes:
    """Complete lines of any program, without control characters, each cut if it is too long.

    Parameters
    ----------
    block : bytes
    colours : bool
        Whether the sequences that colour a terminal stay.
    """
    control = _COLOURED if colours else _CONTROL_BYTES
    if control.search(block):
        block = control.sub(lambda found: rb"\x%02x" % found[0][0], block)
    if _TOO_LONG.search(block):
        block = b"\n".join(map(_cut, block.split(b"\n")))
    return block


def _cut(line: bytes) -> bytes:
    return line if len(line) <= MAX_LINE_BYTES else line[:MAX_LINE_BYTES] + b"... (cut)"
