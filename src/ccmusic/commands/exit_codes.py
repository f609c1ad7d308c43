"""The exit codes of ``ccmusic``."""

from __future__ import annotations

from enum import IntEnum

from ccmusic.process.signals import EXIT_AT_SIGTERM


class ExitCode(IntEnum):
    """One way in which a command ends.

    Attributes
    ----------
    meaning : str
        One sentence for people.
    """

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Make the integer `value` that carries a sentence."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    OK = 0, "Success."
    SOME_FAILED = 1, "At least one recording could not be used. The others were."
    USAGE = 2, "The arguments are not allowed."
    SETTINGS = 3, "The configuration is not allowed. The message names the setting."
    ADDRESS = 4, "The server cannot listen on the address."
    MODEL = 5, "The model cannot be loaded, fetched or imported."
    NOT_GREEN = 6, "gate: the service did not become healthy before the deadline."
    WRONG_ANSWER = 7, "gate: the service is healthy, but its answer to a golden clip is wrong."
    UNREACHABLE = 8, "gate: the service could not be reached before the deadline."
    DOCTOR_FAILED = 9, "doctor: a check failed, or the fault could not be injected."
    NOT_NOTICED = 10, "doctor --inject: the service did not notice the fault."
    NOT_RECOVERED = 11, "doctor --inject: the service noticed the fault, but did not recover from it in time."
    REFUSED = 12, "The system refuses something that the server needs. The message names it."
    OUTPUT_FULL = 13, "The server cannot write its address to standard output: no space is left."
    OUTPUT_CLOSED = 14, "The server cannot write its address: the program that reads standard output has ended."
    CATALOGUE = (
        15,
        "batch, tag: the catalogue cannot be used: another run writes it; or no space is left. The message says it.",
    )
    PACKAGE_MISSING = (
        16,
        "An optional package is missing. The message names the extra that installs it. One that loads, fetches or "
        "imports a model: 5.",
    )
    INTERRUPTED = 130, "The command was interrupted with Ctrl-C."
    TERMINATED = EXIT_AT_SIGTERM, "batch: the run was ended with SIGTERM. The same command continues it."
