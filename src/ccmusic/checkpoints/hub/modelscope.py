"""ModelScope, through its plain file API: two requests, no library.

The library ``modelscope`` has a hundred megabytes. ``modelscope-hub`` (0.5.1, an alpha version) stores an installation
id in the home directory and sends it, unpickles a cookie file there, requests its region from an address that the
server names, and tries an unreachable hub for more than half a minute. The tests run ``modelscope-hub`` and this client
against the same fake hub, so that both use the same protocol.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote, urlencode

from ccmusic.checkpoints.hub.client import Listing, refusal
from ccmusic.checkpoints.hub.http import Denied, Download, Interrupted, RetryPolicy, describe, get, retry
from ccmusic.checkpoints.hub.listing import RemoteFile
from ccmusic.errors import ModelRefused

OFFICIAL = ("https://modelscope.cn", "https://www.modelscope.cn", "https://modelscope.ai", "https://www.modelscope.ai")
ENDPOINT_VARIABLE = "MODELSCOPE_ENDPOINT"
TOKEN_VARIABLE = "MODELSCOPE_API_TOKEN"  # noqa: S105  a name

_MAIN_BRANCH = "master"
_MAX_LISTING_BYTES = 16 * 2**20
"""A listing has about 300 bytes for each file."""


class ModelScope:
    """A `HubClient`.

    Parameters
    ----------
    endpoint : str
        Of the hub or a mirror.
    may_send_token : bool
        Whether the token of the environment is sent to the endpoint. The token file of ModelScope's own library is a
        pickle, and is not opened.
    retry_policy : RetryPolicy
    """

    def __init__(self, endpoint: str, may_send_token: bool, retry_policy: RetryPolicy) -> None:
        self.endpoint = endpoint
        self._may_send_token = may_send_token
        token = os.environ.get(TOKEN_VARIABLE) if may_send_token else None
        # older parts of the server accept the cookie only
        self._credentials = {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"} if token else {}
        self._retry_policy = retry_policy

    def listing(self, repository: str, revision: str | None) -> Listing:
        """One request: ``/api/v1/models/<repository>/repo/files?Recursive=True``."""
        where = f"{repository}@{revision} at {self.endpoint}" if revision else f"{repository} at {self.endpoint}"
        revision = revision or _MAIN_BRANCH
        query = urlencode({"Revision": revision, "Recursive": "True"})
        download = Download(f"{self._address(repository)}/repo/files?{query}", self._credentials)

        def request() -> bytes:
            try:
                with get(download, self._retry_policy) as response:
                    return response.read(_MAX_LISTING_BYTES)
            except OSError as error:
                raise Interrupted(describe(error)) from error

        try:
            answer = retry(request, self._retry_policy, self.endpoint)
        except Denied as denied:
            raise refusal(denied, where, TOKEN_VARIABLE, self._may_send_token) from denied
        try:
            files = json.loads(answer)["Data"]["Files"]
            return Listing(revision, tuple(_remote_file(entry) for entry in files if entry.get("Type") != "tree"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelRefused(
                f"{self.endpoint} does not answer as a hub does; check {ENDPOINT_VARIABLE} and the proxy settings"
            ) from error

    def download(self, repository: str, revision: str, file: RemoteFile) -> Download:
        """``/api/v1/models/<repository>/repo?FilePath=<path>``; sends no request yet."""
        query = urlencode({"Revision": revision, "FilePath": file.path})
        return Download(f"{self._address(repository)}/repo?{query}", self._credentials)

    def _address(self, repository: str) -> str:
        return f"{self.endpoint}/api/v1/models/{quote(repository)}"


def _remote_file(entry: dict[str, Any]) -> RemoteFile:
    return RemoteFile(entry["Path"], entry.get("Size"), entry.get("Sha256") or None)
