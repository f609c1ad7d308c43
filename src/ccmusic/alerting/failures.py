"""Why a channel did not accept a message."""

from __future__ import annotations

from typing import Literal, get_args

Reason = Literal[
    "secret",  # the file with the robot's address cannot be read or contains none
    "unreachable",  # no connection, or it was interrupted
    "timeout",
    "http_status",  # a proxy answered instead of WeCom
    "bad_answer",  # not JSON with an errcode
    "rate_limited",  # errcode 45009, or the bridge's own limit of 20 a minute
    "rejected",  # any other errcode
    "mail",  # the second channel
]
REASONS: tuple[Reason, ...] = get_args(Reason)


class NotSent(Exception):
    """A channel did not accept a message.

    Parameters
    ----------
    reason : str
        One of `REASONS`.
    text : str
        For logs and mails; never contains a secret.
    final : bool
        Whether a retry soon would fail in the same way.
    """

    def __init__(self, reason: Reason, text: str, *, final: bool = False) -> None:
        super().__init__(reason, text)
        self.reason: Reason = reason
        self.text = text
        self.final = final

    def __str__(self) -> str:
        return f"{self.reason}: {self.text}"
