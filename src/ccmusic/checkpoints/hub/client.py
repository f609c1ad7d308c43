"""What both hubs can do, and what their refusals mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ccmusic.checkpoints.hub.http import Denied, Download
from ccmusic.checkpoints.hub.listing import RemoteFile
from ccmusic.errors import ModelError, ModelFileNotFound, ModelRefused


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a repository at one revision.

    Attributes
    ----------
    revision : str
        The revision with which to request the files: a commit, where the hub names one.
    files : tuple of RemoteFile
    """

    revision: str
    files: tuple[RemoteFile, ...]


class HubClient(Protocol):
    """A hub of repositories, or a mirror of one.

    Attributes
    ----------
    endpoint : str
        Its address, without a slash at the end.
    """

    endpoint: str

    def listing(self, repository: str, revision: str | None) -> Listing:
        """Request the list of a repository's files.

        Raises
        ------
        HubUnreachable, ModelFileNotFound, ModelRefused
        """
        ...

    def download(self, repository: str, revision: str, file: RemoteFile) -> Download:
        """The address of one file.

        Raises
        ------
        HubUnreachable, ModelFileNotFound, ModelRefused
        """
        ...


def refusal(denied: Denied, where: str, token_variable: str, may_send_token: bool) -> ModelError:
    """The error for a hub's refusal, with what the operator can do.

    Parameters
    ----------
    denied : Denied
    where : str
        What was requested, and from which hub.
    token_variable : str
        The environment variable that holds a token.
    may_send_token : bool
        False for a mirror that must not get the token.
    """
    if denied.code == "GatedRepo" or denied.status in (401, 403):
        hint = "" if may_send_token else "; the token is not sent to a mirror unless the configuration allows it"
        return ModelRefused(
            f"{where} is gated or private (HTTP {denied.status}): accept its conditions on its page, "
            f"and set {token_variable} to a token that may read it{hint}"
        )
    if denied.status == 404:
        problem = {"RevisionNotFound": "has no such revision", "EntryNotFound": "has no such file"}.get(denied.code)
        return ModelFileNotFound(
            f"{where} {problem}: check its page"
            if problem
            else f"{where} does not exist there, or is private (then set {token_variable}): check the spelling"
        )
    return ModelRefused(f"{where} is refused: {denied}{f', {denied.code}' if denied.code else ''}; try the other hub")
