"""Standard input, output and error of a program that serves."""

from __future__ import annotations

import errno
import io
import logging
import os
import select
import sys
from typing import TextIO

logger = logging.getLogger(__name__)

BLOCKED_SECONDS = 2.0
"""How long a reader of standard output that takes nothing may delay the start."""


class OutputFailed(Exception):
    """Standard output cannot be written, so nobody would learn the address."""


class OutputFull(OutputFailed):
    """There is no space left, or the device refuses the text."""


class OutputClosed(OutputFailed):
    """The program that read standard output has ended."""


def open_standard_streams() -> None:
    """Make the three standard streams usable, whatever they were when this program started.

    The null device takes the place of a closed stream. Otherwise the next socket would get its number, and a client
    would receive the log.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            # the lowest free number, which is this one
            opened = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(opened, True)
        if getattr(sys, name) is None:
            setattr(sys, name, _text(descriptor, "r" if name == "stdin" else "w"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # in an ASCII locale, Chinese text is no error


def _text(descriptor: int, mode: str) -> TextIO:
    stream: TextIO = os.fdopen(descriptor, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # type: ignore[assignment]
    return stream


def announce(line: str, descriptor: int = 1) -> None:
    """Write a line to standard output, such as the address on which the program listens.

    A reader that takes nothing delays it by `BLOCKED_SECONDS` at most; then the line goes to the log only.

    Parameters
    ----------
    line : str
    descriptor : int
        Of standard output.

    Raises
    ------
    OutputFull, OutputClosed
        The line cannot be written.
    """
    text = f"{line}\n".encode()
    try:
        while text:
            if sys.platform != "win32" and not select.select([], [descriptor], [], BLOCKED_SECONDS)[1]:
                logger.warning("standard output takes nothing; %s", line)
                return
            text = text[os.write(descriptor, text) :]
    except OSError as error:
        # not print: what it could not write stays in its buffer, and would fail again at the end of the program
        kind = OutputClosed if error.errno == errno.EPIPE else OutputFull
        raise kind(
            "standard output is closed: the program that reads it has ended"
            if kind is OutputClosed
            else f"standard output cannot be written: {error.strerror}"
        ) from error
