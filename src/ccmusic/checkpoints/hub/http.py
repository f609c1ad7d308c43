"""HTTP requests to a hub: time-outs, retries, redirects, and which server gets the token."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import IO, TypeVar
from urllib.parse import urlsplit

from ccmusic.errors import HubUnreachable
from ccmusic.version import __version__

Answer = TypeVar("Answer")

TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""A retry may succeed."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait for a hub, and how often to retry.

    Attributes
    ----------
    timeout_seconds : float
        Silence after which a connection counts as broken: while connecting, and between two parts of an answer.
    attempts : int
        Failed tries in a row after which the hub counts as unreachable; any byte received resets the count.
    pause_seconds : float
        Pause before the second try; doubled before each further one.
    longest_pause_seconds : float
        Upper limit of a pause, also of one that the hub requests with Retry-After.
    """

    timeout_seconds: float = 30.0
    attempts: int = 5
    pause_seconds: float = 1.0
    longest_pause_seconds: float = 30.0

    def pause(self, n_failed: int, requested_seconds: float | None = None) -> None:
        """Sleep before the next try."""
        seconds = self.pause_seconds * 2 ** (n_failed - 1) if requested_seconds is None else requested_seconds
        time.sleep(min(max(seconds, 0.0), self.longest_pause_seconds))


@dataclass(frozen=True, slots=True)
class Download:
    """The address of a file, and the credentials for it.

    Attributes
    ----------
    url : str
        May redirect to the storage of another company.
    credentials : mapping
        Headers that are sent to the origin of `url` only. Left out of this record's repr.
    """

    url: str
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


class Interrupted(Exception):
    """This try failed, but a retry may succeed; the text is the cause.

    Parameters
    ----------
    cause : str
    retry_after_seconds : float or None
        The pause that the hub requests.
    """

    def __init__(self, cause: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(cause)
        self.retry_after_seconds = retry_after_seconds


class Denied(Exception):
    """The hub refuses the request.

    Parameters
    ----------
    status : int
        The HTTP status.
    code : str
        The hub's error code (``X-Error-Code``), or empty.
    """

    def __init__(self, status: int, code: str = "") -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.code = code


def retry(once: Callable[[], Answer], retry_policy: RetryPolicy, what: str) -> Answer:
    """Call `once` until it returns, at most as often as the policy allows.

    Raises
    ------
    HubUnreachable
        Every try raised `Interrupted`; the text names `what` and the last cause.
    """
    n_failed = 0
    while True:
        try:
            return once()
        except Interrupted as failure:
            n_failed += 1
            if n_failed >= retry_policy.attempts:
                raise HubUnreachable(unreachable(what, failure, n_failed)) from failure
            retry_policy.pause(n_failed, failure.retry_after_seconds)


def unreachable(what: str, failure: Interrupted, n_failed: int) -> str:
    """The error text for a hub that failed every try."""
    tries = "once" if n_failed == 1 else f"{n_failed} times"
    return (
        f"{what} cannot be reached: {failure} (tried {tries}). Check the network and the proxy settings, "
        "name a mirror, or take the model from the other hub"
    )


def get(download: Download, retry_policy: RetryPolicy, *, first_byte: int = 0) -> http.client.HTTPResponse:
    """Send a GET request; the caller reads the body and closes the response.

    Parameters
    ----------
    download : Download
    retry_policy : RetryPolicy
    first_byte : int
        Where in the file the answer should begin.

    Raises
    ------
    Interrupted
        No connection, silence, or one of `TRANSIENT_STATUS`.
    HubUnreachable
        A certificate that is not trusted.
    Denied
        Any other status of 400 and above.
    """
    headers = {"User-Agent": f"ccmusic/{__version__}", "Accept-Encoding": "identity"}
    if first_byte:
        headers["Range"] = f"bytes={first_byte}-"
    request = urllib.request.Request(download.url, headers=headers)  # noqa: S310  its scheme is checked by the opener
    for name, value in download.credentials.items():
        request.add_unredirected_header(name, value)
    try:
        response: http.client.HTTPResponse = _opener().open(request, timeout=retry_policy.timeout_seconds)
    except urllib.error.HTTPError as error:
        with error:
            if error.code in TRANSIENT_STATUS:
                raise Interrupted(f"HTTP {error.code}", _seconds(error.headers.get("Retry-After"))) from None
            raise Denied(error.code, error.headers.get("X-Error-Code") or "") from None
    except urllib.error.URLError as error:
        raise_if_not_trusted(error.reason, download.url)
        raise Interrupted(describe(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(describe(error)) from error
    return response


def raise_if_not_trusted(cause: object, url: str) -> None:
    """Raise if a failure is due to an untrusted certificate, because a retry would fail the same way.

    Raises
    ------
    HubUnreachable
        `cause`, or an exception in its chain, is a failed verification.
    """
    while isinstance(cause, BaseException):
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise HubUnreachable(
                f"{urlsplit(url).netloc} has a certificate that is not trusted here ({cause.verify_message}): "
                "behind a proxy, set SSL_CERT_FILE to the file of its certificate authority"
            ) from cause
        cause = cause.__cause__ or cause.__context__


def describe(cause: object) -> str:
    """The text of a network error without the address, which may be signed, and without numbers."""
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None  # a date is ignored


def _opener() -> urllib.request.OpenerDirector:
    # Fewer handlers than build_opener adds: a redirect to file: or ftp: is not followed.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects: sends the credentials to the same origin only, and never changes from HTTPS to HTTP."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if before.scheme == "https" and after.scheme != "https":
            fp.close()
            raise Denied(code, "redirected from https to " + after.scheme)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        if request is not None and (before.scheme, before.netloc) == (after.scheme, after.netloc):
            for name in ("Authorization", "Cookie"):
                if name in req.unredirected_hdrs:
                    request.add_unredirected_header(name, req.unredirected_hdrs[name])
        return request
