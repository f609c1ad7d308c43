"""A fake of Hugging Face and ModelScope at one address, with their storage at another.

In a test, in the test's own process::

    with FakeHub({"vgg19_bn_cqt/save.pt": content}) as hub:
        huggingface_hub.hf_hub_download(hub.repository, "vgg19_bn_cqt/save.pt", endpoint=hub.url)
        hub.cut_after = [1000]               # the next answer of the storage breaks off after this many bytes
        hub.failing = 2                      # the next two requests get `failing_status`
        hub.gated = True                     # or private: needs hub.token
        hub.stop(); hub.start()              # unreachable, then back on the same port
        [request.range for request in hub.requests if request.at_storage]

As a process of its own, to try the command line: ``python tests/support/fake_hub.py --port 8098 FOLDER``, where FOLDER
has the checkpoints' folders. Then set ``HF_ENDPOINT`` or ``MODELSCOPE_ENDPOINT`` to http://127.0.0.1:8098.

The hub answers at 127.0.0.1 and the storage at localhost, so a client sees two origins, as with the real hubs. Like the
real one, the storage refuses a request with the hub's token. The answers of Hugging Face follow the requests of
``huggingface_hub`` 2.4; those of ModelScope follow ``modelscope-hub`` 0.5.1 and real answers of the server.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import re
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

REPOSITORY = "ccmusic-database/music_genre"
TOKEN = "hf_token-of-the-tests"
LFS_FROM_BYTES = 1024
PIECE_BYTES = 64 * 1024


@dataclass
class Request:
    """A received request, with the status and size of its answer."""

    method: str
    host: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    status: int = 0
    sent_bytes: int = 0

    @property
    def at_storage(self) -> bool:
        return self.path.startswith("/storage/")

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Answer:
    """A response. After `cut_after` bytes of the body the connection is closed, or stays open and silent if `held`."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    held: bool = False


class FakeHub:
    """A server in a thread that records its requests.

    Parameters
    ----------
    files : dict of str to bytes
        The first commit; files of 1 KiB and more are in LFS.
    port : int
        0 for any free one.
    tls : ssl.SSLContext, optional
        Context with a certificate, for HTTPS.

    Attributes
    ----------
    requests : list of Request
        Oldest first.
    cut_after : list of int
        For each of the next answers of the storage, the bytes of body after which it breaks off.
    failing, failing_status, retry_after : int, int, str or None
        Number of next requests that fail, their status, and their header Retry-After.
    stalls_at : int or None
        The byte of a file at which the storage stops sending without closing the connection.
    corrupt : bool
        The storage flips a bit of every file.
    ignores_range, closes_without_length : bool
        The storage answers as an HTTP/1.0 server would.
    surplus : bytes
        Sent after the end of each file.
    gated, private : bool
        Files need the token; a private repository is hidden without it.
    portal : bool
        Every answer is a page of HTML, as from a captive portal.
    contradicts : bool
        Hugging Face's answer for a file has another hash than its listing.
    renamed_from : str or None
        The repository's former name, which Hugging Face redirects.
    storage_at : str or None
        Address of the storage to which the hub redirects; None: this server.
    """

    def __init__(
        self,
        files: dict[str, bytes],
        port: int = 0,
        *,
        repository: str = REPOSITORY,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = port
        self._tls = tls
        self.repository = repository
        self.token = TOKEN
        self.requests: list[Request] = []
        self.cut_after: list[int] = []
        self.failing = 0
        self.failing_status = 503
        self.stalls_at: int | None = None
        self.corrupt = self.ignores_range = self.closes_without_length = False
        self.surplus = b""
        self.retry_after: str | None = None
        self.gated = self.private = self.portal = self.contradicts = False
        self.renamed_from: str | None = None
        self.storage_at: str | None = None
        self._commits: dict[str, dict[str, bytes]] = {}
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.head = self.publish(files)

    def __enter__(self) -> FakeHub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # for tests

    @property
    def url(self) -> str:
        """Address of the hub."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    @property
    def storage_requests(self) -> list[Request]:
        """The requests to the storage."""
        return [request for request in self.requests if request.at_storage]

    def publish(self, files: dict[str, bytes]) -> str:
        """Add a commit with exactly these files to the main branch; returns its hash."""
        for content in files.values():
            self._blobs[_sha256(content)] = content
        listing = "".join(f"{path} {_sha256(content)}" for path, content in sorted(files.items()))
        self.head = hashlib.sha1(f"{len(self._commits)} {listing}".encode()).hexdigest()
        self._commits[self.head] = dict(files)
        return self.head

    def start(self) -> None:
        """Begin to listen; after a stop, on the same port."""
        self._released.clear()
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening: connections are refused."""
        if self._server is None or self._thread is None:
            return
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()
        self._server = self._thread = None

    def wait_while_stalled(self) -> None:
        """Keep a connection open and silent until the server stops."""
        self._released.wait()

    # answers
    def answer(self, request: Request) -> Answer:
        """The response to a request."""
        with self._lock:
            self.requests.append(request)
            if self.failing > 0:
                self.failing -= 1
                wait = {"Retry-After": self.retry_after} if self.retry_after else {}
                return Answer(self.failing_status, b"upstream", wait)
        if self.portal:
            return Answer(200, b"<html>Sign in to the hotel</html>", {"Content-Type": "text/html"})
        if request.at_storage:
            return self._storage(request)
        if request.path.startswith("/api/v1/"):
            return self._modelscope(request)
        return self._huggingface(request)

    # Hugging Face

    def _huggingface(self, request: Request) -> Answer:  # noqa: PLR0911  a table of answers
        known = self._may_read(request)
        if "authorization" in request.headers and not known:
            return _hf_unauthorized("Invalid credentials in Authorization header")
        if self.renamed_from is not None and f"/{self.renamed_from}" in request.path:
            path = request.path.replace(self.renamed_from, self.repository)
            query = f"?{urlencode(request.query)}" if request.query else ""
            return Answer(307, b"Temporary Redirect", {"Location": path + query})
        address = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?(?:/(.*))?", request.path)
        if address:
            repository, kind, revision = address[1], address[2], unquote(address[3] or "main")
            if repository != self.repository or (self.private and not known):
                return _hf_hidden(known)
            commit = self._commit(revision, "main")
            if commit is None:
                return _hf_refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            if kind == "tree":
                return _json(200, [_hf_entry(path, content) for path, content in self._commits[commit].items()])
            return _json(200, self._hf_info(commit))
        address = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", request.path)
        if not address or address[1] != self.repository or (self.private and not known):
            return _hf_hidden(known)
        commit, path = self._commit(unquote(address[2]), "main"), unquote(address[3])
        if commit is None:
            return _hf_refused(404, "RevisionNotFound", f"Invalid rev id: {address[2]}")
        repo_commit = {"X-Repo-Commit": commit}
        if path not in self._commits[commit]:
            return _hf_refused(404, "EntryNotFound", "Entry not found", repo_commit)
        if self.gated and not known:
            return _hf_refused(401, "GatedRepo", f"Access to model {self.repository} is restricted.", repo_commit)
        content = self._commits[commit][path]
        if len(content) < LFS_FROM_BYTES:
            return Answer(200, content, {**repo_commit, "ETag": f'"{_git_sha1(content)}"'})
        digest = _sha256(content[1:] if self.contradicts else content)
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"'}
        return Answer(302, b"Found", {**repo_commit, **linked, "Location": self._stored(content)})

    def _hf_info(self, commit: str) -> dict[str, Any]:
        siblings = []
        for path, content in sorted(self._commits[commit].items()):
            entry = {"rfilename": path, "size": len(content), "blobId": _git_sha1(content)}
            if len(content) >= LFS_FROM_BYTES:
                entry["lfs"] = {"sha256": _sha256(content), "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        name = {"id": self.repository, "modelId": self.repository, "private": self.private, "sha": commit}
        return {**name, "gated": "auto" if self.gated else False, "disabled": False, "tags": [], "siblings": siblings}

    # ModelScope

    def _modelscope(self, request: Request) -> Answer:  # noqa: PLR0911  a table of answers
        address = re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/repo(/files)?", request.path)
        if not address:
            return _ms_refused(404, 10010200001, "not found")
        known = self._may_read(request)
        if address[1] != self.repository or (self.private and not known):
            return _ms_refused(404, 10010205001, "获取模型信息失败，信息不存在")
        commit = self._commit(request.query.get("Revision", "master"), "master")
        if commit is None:
            return _ms_refused(404, 10010205002, "revision not found")
        if address[2]:
            files = [self._ms_entry(commit, path, content) for path, content in self._commits[commit].items()]
            folders = sorted({path.split("/")[0] for path in self._commits[commit] if "/" in path})
            trees = [{"Name": folder, "Path": folder, "Type": "tree", "Size": 0, "Sha256": ""} for folder in folders]
            body = {"Code": 200, "Data": {"Files": trees + files}, "Message": "success", "Success": True}
            return _json(200, body | {"RequestId": "of-the-tests"})
        if self.gated and not known:
            return _ms_refused(403, 10010203001, "无权限访问")
        content = self._commits[commit].get(request.query.get("FilePath", ""))
        if content is None:
            return _ms_refused(404, 10010205003, "文件不存在")
        if len(content) < LFS_FROM_BYTES:
            return Answer(200, content)
        return Answer(302, b"", {"Location": self._stored(content), "X-Linked-ETag": f'"{_sha256(content)}"'})

    def _ms_entry(self, commit: str, path: str, content: bytes) -> dict[str, Any]:
        return {
            "CommitMessage": "upload weights",
            "CommittedDate": 1726665606,
            "CommitterName": "ccmusic-database",
            "InCheck": False,
            "IsLFS": len(content) >= LFS_FROM_BYTES,
            "Mode": "33188",
            "Name": path.rsplit("/", maxsplit=1)[-1],
            "Path": path,
            "Revision": commit,
            "Sha256": _sha256(content),
            "Size": len(content),
            "Type": "blob",
        }

    # the storage of both

    def _stored(self, content: bytes) -> str:
        origin = self.storage_at or f"http{'s' if self._tls else ''}://localhost:{self.port}"
        return f"{origin}/storage/{_sha256(content)}?X-Amz-Signature=of-the-tests"

    def _storage(self, request: Request) -> Answer:
        if "authorization" in request.headers or "m_session_id" in request.headers.get("cookie", ""):
            return Answer(400, b"<Code>InvalidArgument</Code> Only one auth mechanism allowed")
        content = bytearray(self._blobs[request.path.removeprefix("/storage/")])
        if self.corrupt:
            content[len(content) // 2] ^= 1
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.range or "")
        if not asked or self.ignores_range:
            length = {} if self.closes_without_length else {"Content-Length": str(len(content) + len(self.surplus))}
            return self._cut(Answer(200, bytes(content) + self.surplus, length), 0)
        begin, end = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
        if begin > end:
            return Answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        part = {"Content-Range": f"bytes {begin}-{end}/{len(content)}", "Accept-Ranges": "bytes"}
        return self._cut(Answer(206, bytes(content[begin : end + 1]), part), begin)

    def _cut(self, answer: Answer, begin: int) -> Answer:
        with self._lock:
            if self.cut_after:
                answer.cut_after = self.cut_after.pop(0)
            elif self.stalls_at is not None:
                answer.cut_after, answer.held = max(self.stalls_at - begin, 0), True
        return answer

    def _commit(self, revision: str, main: str) -> str | None:
        return self.head if revision == main else revision if revision in self._commits else None

    def _may_read(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.token}"


@functools.cache
def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@functools.cache
def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _json(status: int, value: Any, headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps(value, ensure_ascii=False).encode()
    return Answer(status, body, {"Content-Type": "application/json; charset=utf-8", **(headers or {})})


def _hf_entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": _git_sha1(content)}
    if len(content) >= LFS_FROM_BYTES:
        entry["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 134}
    return entry


def _hf_refused(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Answer:
    headers = {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}
    return _json(status, {"error": message}, headers)


def _hf_hidden(known: bool) -> Answer:
    # without a token the real hub does not reveal which repositories are private: 401 without a code
    return (
        _hf_refused(404, "RepoNotFound", "Repository not found")
        if known
        else _hf_unauthorized("Invalid username or password.")
    )


def _hf_unauthorized(message: str) -> Answer:
    return _json(401, {"error": message}, {"X-Error-Message": message})


def _ms_refused(status: int, code: int, message: str) -> Answer:
    return _json(status, {"Code": code, "Message": message, "RequestId": "of-the-tests", "Success": False})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def close_connections(self) -> None:
        """Close the connections that clients keep open for further requests, so that the server is unreachable."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, headers.get("host", ""), parts.path, query, headers)
            answer = hub.answer(request)
            request.status = answer.status
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if hub.closes_without_length and request.at_storage:
                self.close_connection = True
            elif "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            stop = len(answer.body) if answer.cut_after is None else min(len(answer.body), answer.cut_after)
            for begin in range(0, stop, PIECE_BYTES):
                piece = answer.body[begin : min(begin + PIECE_BYTES, stop)]
                # counted first: a client that has every byte may look at once
                request.sent_bytes += len(piece)
                self.wfile.write(piece)
            self.wfile.flush()
            if stop < len(answer.body):
                self.close_connection = True
                if answer.held:
                    hub.wait_while_stalled()

        do_GET = do_HEAD = _answer  # noqa: N815  http.server's names

        def handle(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):  # the client disconnected
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="A fake of Hugging Face and ModelScope.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (default)")
    parser.add_argument("folder", type=Path, help="directory with the checkpoints' folders, each with its save.pt")
    options = parser.parse_args()
    files = {
        str(path.relative_to(options.folder)): path.read_bytes()
        for path in sorted(options.folder.rglob("*"))
        if path.is_file()
    }
    hub = FakeHub(files, options.port)
    hub.start()
    print(f"{hub.url}: {', '.join(files)}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        hub.stop()


if __name__ == "__main__":
    main()
