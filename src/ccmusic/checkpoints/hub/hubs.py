"""What the two hubs have in common, and which one is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ccmusic.checkpoints.hub.listing import RemoteFile
from ccmusic.checkpoints.hub.wire import Denied, Download
from ccmusic.errors import ModelError, ModelFileNotFound, ModelRefused


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything that a repository holds at one revision.

    Attributes
    ----------
    revision : str
        What the files are asked for at: a commit, where the hub names one.
    files : tuple of RemoteFile
    """

    revision: str
    files: tuple[RemoteFile, ...]


class Hub(Protocol):
    """A place that has repositories.

    Attributes
    ----------
    endpoint : str
        Of the hub or its mirror, without a slash at the end.
    """

    endpoint: str

    def listing(self, repository: str, revision: str | None) -> Listing:
        """Ask what a repository holds.

        Raises
        ------
        HubUnreachable, ModelFileNotFound, ModelRefused
        """
        ...

    def download(self, repository: str, revision: str, file: RemoteFile) -> Download:
        """Where one file of it is fetched.

        Raises
        ------
        HubUnreachable, ModelFileNotFound, ModelRefused
        """
        ...


def refusal(denied: Denied, where: str, token_variable: str, may_send_token: bool) -> ModelError:
    """What a hub's refusal means to whoever asked, and what to do next.

    Parameters
    ----------
    denied : Denied
    where : str
        What was asked for, and of whom.
    token_variable : str
        The environment variable that holds a token.
    may_send_token : bool
        False at a mirror that is not to see it.
    """
    if denied.code == "GatedRepo" or denied.status in (401, 403):
        unless = "" if may_send_token else "; a mirror is not shown the token unless that is asked for"
        return ModelRefused(
            f"{where} is gated or private (HTTP {denied.status}): accept its conditions on its page, "
            f"and set {token_variable} to a token that may read it{unless}"
        )
    if denied.status == 404:
        what = {"RevisionNotFound": "has no such revision", "EntryNotFound": "has no such file"}.get(denied.code)
        return ModelFileNotFound(
            f"{where} {what}: look at its page for what there is"
            if what
            else f"{where} does not exist there, or is private (then set {token_variable}): look at how it is spelled"
        )
    return ModelRefused(f"{where} is refused: {denied}{f', {denied.code}' if denied.code else ''}; try the other hub")
