"""ModelScope, asked over its plain file API: two requests, no library.

Of its libraries, ``modelscope`` weighs a hundred megabytes, and ``modelscope-hub`` (0.5.1, an alpha version) keeps an
id of this installation in the home directory and sends it along, unpickles a cookie file there, asks an address that
the server names for the region it runs in, and tries a hub that is not there for over half a minute. The tests drive
``modelscope-hub`` against the same stand-in that this client is tested with, so that both speak one protocol.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote, urlencode

from ccmusic.checkpoints.hub.hubs import Listing, refusal
from ccmusic.checkpoints.hub.listing import RemoteFile
from ccmusic.checkpoints.hub.wire import Denied, Download, Interrupted, RetryPolicy, get, patiently, words
from ccmusic.errors import ModelRefused

OFFICIAL = ("https://modelscope.cn", "https://www.modelscope.cn", "https://modelscope.ai", "https://www.modelscope.ai")
ENDPOINT_VARIABLE = "MODELSCOPE_ENDPOINT"
TOKEN_VARIABLE = "MODELSCOPE_API_TOKEN"  # noqa: S105  a name

_MAIN_BRANCH = "master"
_LONGEST_LISTING = 16 * 2**20
"""Bytes; a listing has some 300 for each file."""


class ModelScope:
    """Implements `Hub`.

    Parameters
    ----------
    endpoint : str
        Of the hub or a mirror.
    may_send_token : bool
        Whether the token of the environment is shown to the endpoint. The file that ModelScope's own library keeps it
        in is a pickle, and is not opened.
    patience : RetryPolicy
    """

    def __init__(self, endpoint: str, may_send_token: bool, patience: RetryPolicy) -> None:
        self.endpoint = endpoint
        self._may_send_token = may_send_token
        token = os.environ.get(TOKEN_VARIABLE) if may_send_token else None
        # older parts of the server know the cookie alone
        self._credentials = {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"} if token else {}
        self._patience = patience

    def listing(self, repository: str, revision: str | None) -> Listing:
        """One request: ``/api/v1/models/<repository>/repo/files?Recursive=True``."""
        at = f"{repository}@{revision} at {self.endpoint}" if revision else f"{repository} at {self.endpoint}"
        revision = revision or _MAIN_BRANCH
        query = urlencode({"Revision": revision, "Recursive": "True"})
        download = Download(f"{self._address(repository)}/repo/files?{query}", self._credentials)

        def ask() -> bytes:
            try:
                with get(download, self._patience) as response:
                    return response.read(_LONGEST_LISTING)
            except OSError as error:
                raise Interrupted(words(error)) from error

        try:
            answer = patiently(ask, self._patience, self.endpoint)
        except Denied as denied:
            raise refusal(denied, at, TOKEN_VARIABLE, self._may_send_token) from denied
        try:
            files = json.loads(answer)["Data"]["Files"]
            return Listing(revision, tuple(_file(entry) for entry in files if entry.get("Type") != "tree"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelRefused(
                f"{self.endpoint} does not answer as a hub does; look at {ENDPOINT_VARIABLE} and the proxy settings"
            ) from error

    def download(self, repository: str, revision: str, file: RemoteFile) -> Download:
        """``/api/v1/models/<repository>/repo?FilePath=<path>``; nothing is asked yet."""
        query = urlencode({"Revision": revision, "FilePath": file.path})
        return Download(f"{self._address(repository)}/repo?{query}", self._credentials)

    def _address(self, repository: str) -> str:
        return f"{self.endpoint}/api/v1/models/{quote(repository)}"


def _file(entry: dict[str, Any]) -> RemoteFile:
    return RemoteFile(entry["Path"], entry.get("Size"), entry.get("Sha256") or None)
