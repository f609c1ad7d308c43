"""Hugging Face: its own library lists the files and finds the token.

`transfer` downloads the files, not ``hf_hub_download``: that function (2.4) deletes a partial file when it is
interrupted or fails, so half a gigabyte would be downloaded again, and does not check the SHA-256 of a plain HTTP
download.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ccmusic.checkpoints.hub.client import Listing, refusal
from ccmusic.checkpoints.hub.http import (
    TRANSIENT_STATUS,
    Denied,
    Download,
    Interrupted,
    RetryPolicy,
    describe,
    raise_if_not_trusted,
    retry,
)
from ccmusic.checkpoints.hub.listing import RemoteFile
from ccmusic.errors import DependencyUnavailable, ModelRefused
from ccmusic.version import __version__

OFFICIAL = ("https://huggingface.co",)
ENDPOINT_VARIABLE = "HF_ENDPOINT"
TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105  a name

_BAD_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105  a message

Answer = TypeVar("Answer")


class HuggingFace:
    """A `HubClient`.

    Parameters
    ----------
    endpoint : str
        Of the hub or a mirror.
    may_send_token : bool
        Whether the token of the environment, or of the library's token file, is sent to the endpoint.
    retry_policy : RetryPolicy

    Raises
    ------
    DependencyUnavailable
        ``huggingface_hub`` is not installed.
    """

    def __init__(self, endpoint: str, may_send_token: bool, retry_policy: RetryPolicy) -> None:
        try:
            import huggingface_hub  # imported late: an extra, and slow
        except ImportError as error:
            raise DependencyUnavailable(
                'pulling from Hugging Face needs huggingface_hub: pip install "ccmusic[hub]", or take the model from '
                "modelscope://, which does not need it"
            ) from error
        self.endpoint = endpoint
        self._may_send_token = may_send_token
        self._token: str | bool = (huggingface_hub.get_token() if may_send_token else None) or False
        self._retry_policy = retry_policy
        self._api = huggingface_hub.HfApi(endpoint=endpoint, token=self._token, headers=_headers())

    def listing(self, repository: str, revision: str | None) -> Listing:
        """One request: ``/api/models/<repository>/revision/<revision>?blobs=true``."""

        def request() -> Any:
            return self._api.model_info(
                repository, revision=revision, files_metadata=True, timeout=self._retry_policy.timeout_seconds
            )

        where = f"{repository}@{revision}" if revision else repository
        info = self._request(request, where)
        if not info.sha or info.siblings is None:
            raise ModelRefused(f"{self.endpoint} does not name the commit and files of {where}; is it a hub?")
        return Listing(
            info.sha,
            tuple(
                RemoteFile(file.rfilename, file.lfs.size, file.lfs.sha256)
                if file.lfs
                else RemoteFile(file.rfilename, file.size)
                for file in info.siblings
            ),
        )

    def download(self, repository: str, revision: str, file: RemoteFile) -> Download:
        """One request without a body: a gate, or a contradiction of the listing, is found before the download."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(repository, file.path, revision=revision, endpoint=self.endpoint)

        def request() -> Any:
            return get_hf_file_metadata(
                url,
                token=self._token,
                timeout=self._retry_policy.timeout_seconds,
                endpoint=self.endpoint,
                headers=_headers(),
            )

        metadata = self._request(request, f"{repository}/{file.path}")
        if (metadata.etag, metadata.size) != (file.sha256, file.size):
            raise ModelRefused(
                f"{self.endpoint} describes two different files as {file.path} (SHA-256 {str(file.sha256)[:12]}... of "
                f"{file.size} bytes, and {str(metadata.etag)[:12]}... of {metadata.size}); nothing was fetched: "
                "try again later, or the other hub"
            )
        return Download(url, {"Authorization": f"Bearer {self._token}"} if self._token else {})

    def _request(self, request: Callable[[], Answer], what: str) -> Answer:
        import httpx2
        from huggingface_hub import errors

        where = f"{what} at {self.endpoint}"

        def once() -> Answer:
            try:
                return request()
            except errors.HfHubHTTPError as error:
                status = error.response.status_code
                if status in TRANSIENT_STATUS:
                    raise Interrupted(f"HTTP {status}") from error
                headers = error.response.headers
                if headers.get("X-Error-Message") == _BAD_TOKEN:
                    raise ModelRefused(
                        f"{self.endpoint} does not know the token that it was sent: renew or unset {TOKEN_VARIABLE}, "
                        "or the token file of Hugging Face's library"
                    ) from error
                code = headers.get("X-Error-Code", "")
                # for a repository that does not exist the hub answers 401 without a code, to hide private ones
                denied = Denied(404 if status == 401 and not code else status, code)
                raise refusal(denied, where, TOKEN_VARIABLE, self._may_send_token) from error
            except httpx2.TimeoutException as error:
                raise Interrupted("no answer in time") from error
            except (httpx2.HTTPError, errors.OfflineModeIsEnabled) as error:
                raise_if_not_trusted(error, self.endpoint)
                raise Interrupted(describe(error)) from error
            except (errors.FileMetadataError, ValueError, KeyError, TypeError) as error:
                raise ModelRefused(
                    f"{self.endpoint} does not answer as a hub does; check {ENDPOINT_VARIABLE} and the proxy settings"
                ) from error

        return retry(once, self._retry_policy, self.endpoint)


def _headers() -> dict[str, str]:
    # They replace the library's own headers, which list other installed packages. New each time: it changes them.
    return {"user-agent": f"ccmusic/{__version__}"}
