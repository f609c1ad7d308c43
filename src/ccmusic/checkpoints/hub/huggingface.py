"""Hugging Face, asked through its own library for what a repository holds, for each file's promise and for the token.

The bytes are fetched by `transfer` and not by ``hf_hub_download``: that (2.4) deletes what it has when it is ended or
gives up, so half a gigabyte would begin anew, and compares no SHA-256 of what came over plain HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ccmusic.checkpoints.hub.hubs import Listing, refusal
from ccmusic.checkpoints.hub.listing import RemoteFile
from ccmusic.checkpoints.hub.wire import (
    TRANSIENT_STATUS,
    Denied,
    Download,
    Interrupted,
    RetryPolicy,
    patiently,
    raise_if_not_trusted,
    words,
)
from ccmusic.errors import DependencyUnavailable, ModelRefused
from ccmusic.version import __version__

OFFICIAL = ("https://huggingface.co",)
ENDPOINT_VARIABLE = "HF_ENDPOINT"
TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105  a name

_BAD_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105  a message

Answer = TypeVar("Answer")


class HuggingFace:
    """Implements `Hub`.

    Parameters
    ----------
    endpoint : str
        Of the hub or a mirror.
    may_send_token : bool
        Whether the token of the environment, or of the library's token file, is shown to the endpoint.
    patience : RetryPolicy

    Raises
    ------
    DependencyUnavailable
        ``huggingface_hub`` is not installed.
    """

    def __init__(self, endpoint: str, may_send_token: bool, patience: RetryPolicy) -> None:
        try:
            import huggingface_hub  # here and not above: it is an extra, and slow
        except ImportError as error:
            raise DependencyUnavailable(
                'pulling from Hugging Face needs huggingface_hub: pip install "ccmusic[hub]", or take the model from '
                "modelscope://, which needs nothing"
            ) from error
        self.endpoint = endpoint
        self._may_send_token = may_send_token
        self._token: str | bool = (huggingface_hub.get_token() if may_send_token else None) or False
        self._patience = patience
        self._api = huggingface_hub.HfApi(endpoint=endpoint, token=self._token, headers=_headers())

    def listing(self, repository: str, revision: str | None) -> Listing:
        """One request: ``/api/models/<repository>/revision/<revision>?blobs=true``."""

        def ask() -> Any:
            return self._api.model_info(
                repository, revision=revision, files_metadata=True, timeout=self._patience.timeout_seconds
            )

        where = f"{repository}@{revision}" if revision else repository
        info = self._ask(ask, where)
        if not info.sha or info.siblings is None:
            raise ModelRefused(f"{self.endpoint} does not tell the commit and files of {where}; is it a hub?")
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
        """One request without a body, so that a gate is met, and a listing contradicted, before anything is fetched."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(repository, file.path, revision=revision, endpoint=self.endpoint)

        def ask() -> Any:
            return get_hf_file_metadata(
                url,
                token=self._token,
                timeout=self._patience.timeout_seconds,
                endpoint=self.endpoint,
                headers=_headers(),
            )

        metadata = self._ask(ask, f"{repository}/{file.path}")
        if (metadata.etag, metadata.size) != (file.sha256, file.size):
            raise ModelRefused(
                f"{self.endpoint} promises two different files as {file.path} (SHA-256 {str(file.sha256)[:12]}... of "
                f"{file.size} bytes, and {str(metadata.etag)[:12]}... of {metadata.size}); nothing was fetched: "
                "try again later, or the other hub"
            )
        return Download(url, {"Authorization": f"Bearer {self._token}"} if self._token else {})

    def _ask(self, ask: Callable[[], Answer], where: str) -> Answer:
        import httpx2
        from huggingface_hub import errors

        def once() -> Answer:
            try:
                return ask()
            except errors.HfHubHTTPError as error:
                status = error.response.status_code
                if status in TRANSIENT_STATUS:
                    raise Interrupted(f"HTTP {status}") from error
                headers = error.response.headers
                if headers.get("X-Error-Message") == _BAD_TOKEN:
                    raise ModelRefused(
                        f"{self.endpoint} does not know the token that it was shown: renew or unset {TOKEN_VARIABLE}, "
                        "or the token file of Hugging Face's library"
                    ) from error
                code = headers.get("X-Error-Code", "")
                # 401 and no code is said of what does not exist, so that nobody can find out what is private
                denied = Denied(404 if status == 401 and not code else status, code)
                raise refusal(denied, at, TOKEN_VARIABLE, self._may_send_token) from error
            except httpx2.TimeoutException as error:
                raise Interrupted("no answer in time") from error
            except (httpx2.HTTPError, errors.OfflineModeIsEnabled) as error:
                raise_if_not_trusted(error, self.endpoint)
                raise Interrupted(words(error)) from error
            except (errors.FileMetadataError, ValueError, KeyError, TypeError) as error:
                raise ModelRefused(
                    f"{self.endpoint} does not answer as a hub does; look at {ENDPOINT_VARIABLE} and the proxy settings"
                ) from error

        at = f"{where} at {self.endpoint}"
        return patiently(once, self._patience, self.endpoint)


def _headers() -> dict[str, str]:
    # In place of the library's own, which would tell what else is installed here. New each time: it changes them.
    return {"user-agent": f"ccmusic/{__version__}"}
