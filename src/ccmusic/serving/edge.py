"""What every request meets first and every answer last: proxies, host names, keys, and the headers for browsers."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ccmusic.health.addresses import client_name, unmapped
from ccmusic.health.http_protocol import SAFE_HEADERS
from ccmusic.serving.clients import ApiKeys, Rates
from ccmusic.serving.limits import client_of_request
from ccmusic.serving.problems import refusal_response

FORWARDED = (b"forwarded", b"x-real-ip")
"""Also every other header that begins with ``x-forwarded-``."""
PROBES = frozenset({"/health", "/startupz", "/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Answered under every host name: a probe names the address of a container."""
RECORDINGS = re.compile(r"/v1/classify|/v2/models/[^/]+(/versions/[^/]+)?/infer")
"""Paths that need an API key, if keys are required."""
GRADIO = re.compile(r"/|/config/?|/gradio_api/(?!file=|heartbeat/|upload_progress|theme\.css).*")
"""Paths that take Gradio milliseconds on the event loop, up to 10. A visit of the page requests a few of them."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")
_SCRIPT = re.compile(rb"<script\b[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
"""For a page that sets no policy of its own: /docs, and the small pages while there is no other."""
PERMISSIONS = "camera=(), geolocation=(), microphone=(self)"


class TrustedProxies:
    """The proxies whose word is taken for who their clients are.

    Parameters
    ----------
    networks : str
        Addresses and networks with commas between them.
    """

    def __init__(self, networks: str) -> None:
        self.parts = [part.strip() for part in networks.split(",") if part.strip()]
        self._networks = [ip_network(part, strict=False) for part in self.parts]

    def __contains__(self, host: object) -> bool:
        try:
            address = ip_address(str(host))
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def may_be(self, client: str) -> bool:
        """Whether the client with this name, which may be an IPv6 network, may be one of them."""
        try:
            found = ip_network(client, strict=False)
        except ValueError:
            return False
        return any(found.version == network.version and found.overlaps(network) for network in self._networks)


class Edge:
    """Middleware that decides who the client is, and under which name the service was called.

    * X-Forwarded-* and Forwarded are removed, unless a trusted proxy sent them. Gradio believes them from everyone.
    * A request with both Content-Length and Transfer-Encoding is refused and its connection closed: two servers that
      read it differently would see two different requests.
    * A host name that is not one, or not a trusted one, is refused, except for probes.
    * With API keys, an unknown key is refused; if they are required, so is a recording without one.
    * Answers have the headers that browsers are safe with, no header of CORS, and no redirect names a host. An error
      that nothing else has handled is such an answer too.

    Parameters
    ----------
    app : ASGIApp
    proxies : TrustedProxies
    hosts : str
        Names with commas between them, such as ``music.example.org, *.example.net``; empty: every name.
    keys : ApiKeys
    keys_required : bool
    frame_ancestors : str
        Who may show the page in a frame, as in a content policy.
    page_requests : Rates, optional
        How many requests each client may send that Gradio answers itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        proxies: TrustedProxies,
        hosts: str = "",
        keys: ApiKeys,
        keys_required: bool = False,
        frame_ancestors: str = "'none'",
        page_requests: Rates | None = None,
    ) -> None:
        self._app = app
        self._proxies = proxies
        self._forwarded = ProxyHeadersMiddleware(self._known, trusted_hosts=proxies.parts)  # type: ignore[arg-type]
        self._hosts = [name.strip().lower() for name in hosts.split(",") if name.strip()]
        self._keys = keys
        self._keys_required = keys_required
        self._frame_ancestors = frame_ancestors
        self._page_requests = page_requests or Rates(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (peer := scope.get("client")) is not None:
            scope["client"] = peer = unmapped(peer[0]), peer[1]
        if peer is not None and peer[0] in self._proxies:
            await self._forwarded(scope, receive, send)  # type: ignore[arg-type]
            return
        scope["headers"] = [
            (n, v) for n, v in scope["headers"] if n not in FORWARDED and not n.startswith(b"x-forwarded-")
        ]
        await self._known(scope, receive, send)

    async def _known(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request of which scheme and peer are known."""
        send = _with_safe_headers(send, self._frame_ancestors)
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            scope["client_name"] = self._client(scope)
            client_of_request.set(scope["client_name"])
            await self._app(scope, receive, noting)
        except Exception as error:  # Starlette's own handler is around this middleware: its answer would lack headers
            if started:
                raise
            response = refusal_response(error, scope.get("request_id"), _path(scope))
            response.headers["Connection"] = "close"  # the rest of the request is not read
            await response(scope, receive, send)

    def _client(self, scope: Scope) -> str:
        """The name of the client.

        Raises
        ------
        HTTPException, TooManyRequests
            The request is refused.
        """
        headers, path, peer = Headers(scope=scope), _path(scope), scope.get("client")
        if "content-length" in headers and "transfer-encoding" in headers:
            raise HTTPException(400, "the request has both Content-Length and Transfer-Encoding")
        if path not in PROBES:
            self._require_host(headers)
        client = client_name(peer[0]) if peer else ""
        if len(self._keys) and RECORDINGS.fullmatch(path) is not None:
            client = self._keyed(client, headers.get("authorization"))
        if GRADIO.fullmatch(path) is not None:
            self._page_requests.take(client)
        return client

    def _require_host(self, headers: Headers) -> None:
        forwarded = ",".join(headers.getlist("x-forwarded-host"))
        for name in headers.getlist("host") + (forwarded.split(",") if forwarded else []):
            found = _HOST.fullmatch(name.strip())
            if found is None:
                raise HTTPException(400, "the header Host is no name of a host")
            if self._hosts and not self._is_trusted(found[1].lower()):
                raise HTTPException(421, "this service has another name (CCMUSIC_TRUSTED_HOSTS)")

    def _is_trusted(self, name: str) -> bool:
        return any(name == host or (host.startswith("*.") and name.endswith(host[1:])) for host in self._hosts)

    def _keyed(self, client: str, authorization: str | None) -> str:
        if authorization is None and not self._keys_required:
            return client
        named = self._keys.client_of(authorization or "")
        if named is None:
            text = "the API key is missing or unknown: send it as Authorization: Bearer KEY"
            raise HTTPException(401, text, {"WWW-Authenticate": 'Bearer realm="ccmusic"'})
        return named


def _path(scope: Scope) -> str:
    return str(scope["path"]).removeprefix(scope.get("root_path", "").rstrip("/"))


def _with_safe_headers(send: Send, frame_ancestors: str) -> Send:
    """Complete the headers of an answer. Those of a page wait for its body: its policy names the scripts in it."""
    page: Message | None = None

    async def completing(message: Message) -> None:
        nonlocal page
        if message["type"] == "http.response.start":
            message = {**message, "headers": _safe(message.get("headers", ()))}
            if _kind(message).startswith("text/html"):
                page = message
                return
        elif page is not None:
            headers = MutableHeaders(raw=page["headers"])
            policy = headers.get("content-security-policy", PAGE_POLICY)
            headers["content-security-policy"] = (
                f"{with_scripts(policy, message.get('body', b''))}; frame-ancestors {frame_ancestors}"
            )
            if frame_ancestors == "'none'":  # for old browsers
                headers["x-frame-options"] = "DENY"
            headers["permissions-policy"] = PERMISSIONS
            await send(page)
            page = None
        await send(message)

    return completing


def _kind(message: Message) -> str:
    return Headers(raw=message["headers"]).get("content-type", "")


def _safe(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    headers = MutableHeaders(raw=[(n, v) for n, v in raw if not n.lower().startswith(b"access-control-")])
    kind = headers.get("content-type", "")
    for name, value in SAFE_HEADERS:
        if name != "content-security-policy":
            headers.setdefault(name, value)
        elif "javascript" in kind:  # it is also the policy of a worker that runs this script
            headers.setdefault(name, "default-src 'self'")
        elif not kind.startswith("text/html"):
            headers.setdefault(name, value)
    if "location" in headers:
        headers["location"] = within_this_service(headers["location"])
    return headers.raw


def within_this_service(location: str) -> str:
    """The path of a redirect, without the host: that is the name that the client has sent."""
    parts = urlsplit(location)
    path = "/" + parts.path.lstrip("/\\")
    return f"{path}?{parts.query}" if parts.query else path


def with_scripts(policy: str, html: bytes) -> str:
    """The policy of a page that allows the scripts that are written in it, and no others.

    Parameters
    ----------
    policy : str
        Has ``script-src 'self'``.
    html : bytes
    """
    inline = dict.fromkeys(script for script in _SCRIPT.findall(html) if script)
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in inline]
    return policy.replace("script-src 'self'", " ".join(["script-src 'self'", *(f"'sha256-{h}'" for h in hashes)]), 1)
