"""Asking a hub over HTTP: time-outs, further tries, redirects, and where a token may go."""

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
"""A later try may get another answer."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a hub is waited for, and how often it is asked again.

    Attributes
    ----------
    timeout_seconds : float
        Silence after which a connection counts as cut: while connecting, and between two pieces of an answer.
    attempts : int
        Tries in a row that bring nothing; each byte received starts the count anew.
    pause_seconds : float
        Before the second try; doubled before each further one.
    longest_pause_seconds : float
        No pause is longer, whatever the hub asks for in Retry-After.
    """

    timeout_seconds: float = 30.0
    attempts: int = 5
    pause_seconds: float = 1.0
    longest_pause_seconds: float = 30.0

    def pause(self, n_failed: int, asked_for_seconds: float | None = None) -> None:
        """Wait before the next try."""
        wanted = self.pause_seconds * 2 ** (n_failed - 1) if asked_for_seconds is None else asked_for_seconds
        time.sleep(min(max(wanted, 0.0), self.longest_pause_seconds))


@dataclass(frozen=True, slots=True)
class Download:
    """Where a file's bytes are, and what its hub is shown to give them.

    Attributes
    ----------
    url : str
        May redirect to a storage of another owner.
    credentials : mapping
        Headers that only the origin of `url` sees. Not in the text of this record.
    """

    url: str
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


class Interrupted(Exception):
    """This try failed, the next one may not; the text is the cause.

    Parameters
    ----------
    cause : str
        In words.
    retry_after_seconds : float or None
        What the hub asks for.
    """

    def __init__(self, cause: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(cause)
        self.retry_after_seconds = retry_after_seconds


class Denied(Exception):
    """The hub answered, and not with the file.

    Parameters
    ----------
    status : int
        Of HTTP.
    code : str
        The hub's own word for it (``X-Error-Code``), or nothing.
    """

    def __init__(self, status: int, code: str = "") -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.code = code


def patiently(once: Callable[[], Answer], patience: RetryPolicy, what: str) -> Answer:
    """Try until an answer comes, a bounded number of times.

    Raises
    ------
    HubUnreachable
        Every try was `Interrupted`; the text tells `what` was tried and the last cause.
    """
    n_failed = 0
    while True:
        try:
            return once()
        except Interrupted as failure:
            n_failed += 1
            if n_failed >= patience.attempts:
                raise HubUnreachable(unreachable(what, failure, n_failed)) from failure
            patience.pause(n_failed, failure.retry_after_seconds)


def unreachable(what: str, failure: Interrupted, n_failed: int) -> str:
    """The sentence for a hub that was asked often enough."""
    tries = "once" if n_failed == 1 else f"{n_failed} times"
    return (
        f"{what} cannot be reached: {failure} (tried {tries}). Look at the network and the proxy settings, "
        "name a mirror, or take the model from the other hub"
    )


def get(download: Download, patience: RetryPolicy, *, begin: int = 0) -> http.client.HTTPResponse:
    """Open an answer whose body is still to be read; it is the caller's to close.

    Parameters
    ----------
    download : Download
    patience : RetryPolicy
    begin : int
        First byte that is wanted.

    Raises
    ------
    Interrupted
        No connection, silence, or a status that may change.
    HubUnreachable
        A certificate that is not trusted.
    Denied
        Any other status of 400 and above.
    """
    headers = {"User-Agent": f"ccmusic/{__version__}", "Accept-Encoding": "identity"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    request = urllib.request.Request(download.url, headers=headers)  # noqa: S310  its scheme is checked by the opener
    for name, value in download.credentials.items():
        request.add_unredirected_header(name, value)
    try:
        response: http.client.HTTPResponse = _opener().open(request, timeout=patience.timeout_seconds)
    except urllib.error.HTTPError as error:
        with error:
            if error.code in TRANSIENT_STATUS:
                raise Interrupted(f"HTTP {error.code}", _seconds(error.headers.get("Retry-After"))) from None
            raise Denied(error.code, error.headers.get("X-Error-Code") or "") from None
    except urllib.error.URLError as error:
        raise_if_not_trusted(error.reason, download.url)
        raise Interrupted(words(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(words(error)) from error
    return response


def raise_if_not_trusted(cause: object, url: str) -> None:
    """Tell a certificate that is not trusted from a network that fails: another try would see the same.

    Raises
    ------
    HubUnreachable
        `cause`, or what caused it, is a failed verification.
    """
    while isinstance(cause, BaseException):
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise HubUnreachable(
                f"{urlsplit(url).netloc} shows a certificate that is not trusted here ({cause.verify_message}): "
                "if a proxy is in between, name the file of its authority in SSL_CERT_FILE"
            ) from cause
        cause = cause.__cause__ or cause.__context__


def words(cause: object) -> str:
    """A network error's cause without the address, which may be signed, and without numbers."""
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None  # no dates


def _opener() -> urllib.request.OpenerDirector:
    # Not build_opener's whole set: of an address that a hub names, only HTTP is followed, no file and no FTP.
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
    """Takes credentials along to the same origin alone, and never leaves HTTPS."""

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
