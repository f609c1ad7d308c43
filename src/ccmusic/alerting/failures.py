"""Why a channel did not take a message."""

from __future__ import annotations

from typing import Literal, get_args

Reason = Literal[
    "secret",  # the file with the robot's address cannot be read, or holds none
    "unreachable",  # no connection, or it broke
    "timeout",
    "http_status",  # something in between answered, not WeCom
    "bad_answer",  # no JSON with an errcode
    "rate_limited",  # 45009, or our own count of 20 a minute
    "rejected",  # any other errcode
    "mail",  # the second channel
]
REASONS: tuple[Reason, ...] = get_args(Reason)


class NotSent(Exception):
    """A channel did not take a message.

    Parameters
    ----------
    reason : str
        One of `REASONS`.
    words : str
        For logs and mails; never holds a secret.
    final : bool
        Whether trying the same again soon is in vain.
    """

    def __init__(self, reason: Reason, words: str, *, final: bool = False) -> None:
        super().__init__(reason, words)
        self.reason: Reason = reason
        self.words = words
        self.final = final

    def __str__(self) -> str:
        return f"{self.reason}: {self.words}"
