"""A fake of WeCom's server API: the group robot's webhook, and an application's gettoken and message/send.

In a test, in the test's own process::

    with FakeWecom() as wecom:
        robot_file.write_text(wecom.robot_url)
        ...
        wecom.stop(); wecom.start()          # unreachable, then back on the same port
        wecom.delay_seconds = 30             # slow answers
        wecom.errcode = -1                   # every message is refused: "system busy"
        wecom.robot_messages[0]["markdown"]["content"]

As a process of its own, controlled over HTTP::

    python tests/support/fake_wecom.py --port 8099 --log received.jsonl
    curl localhost:8099/received                               # the accepted messages, as a JSON list
    curl localhost:8099/control -d '{"errcode": -1}'           # or {"delay_seconds": 30}, {"status": 502}

The log has one JSON object a line for each message: ``{"time", "kind": "robot"|"application", "errcode", "content",
"message"}``. The ``errcode`` of an accepted message is 0.
"""

from __future__ import annotations

import argparse
import json
import secrets
import threading
import time
from collections import deque
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa"
CORP_ID = "ww0123456789abcdef"
SECRET = "application-secret-of-the-tests"
AGENT_ID = "1000002"
MARKDOWN_BYTES = 4096
TEXT_BYTES = 2048

ERRMSG = {
    -1: "system busy",
    0: "ok",
    40001: "invalid credential",
    40008: "invalid message type",
    40013: "invalid corpid",
    40014: "invalid access_token",
    40056: "invalid agentid",
    40058: "{kind}.content exceed max length {limit}. invalid Request Parameter",
    41001: "access_token missing",
    44004: "empty content",
    45009: "api freq out of limit",
    47001: "data format error",
    81013: "user & party & tag all invalid",
    93000: "invalid webhook url",
}


class FakeWecom:
    """A server in a thread, on 127.0.0.1, that keeps its messages.

    Parameters
    ----------
    port : int
        0 for any free one.
    key : str
        Key of the group robot.
    per_minute : int
        Messages that the robot accepts in `window_seconds`; further ones get 45009.
    window_seconds : float
        A minute; shorter in tests.
    log : Path, optional
        Each message is appended as a line of JSON.

    Attributes
    ----------
    robot_messages, application_messages : list of dict
        Bodies of the accepted messages, oldest first.
    refused : list of int
        Error codes of the refused messages, oldest first.
    attempts : int
        Number of all requests.
    delay_seconds : float
        Delay before each answer.
    status : int
        HTTP status; WeCom uses 200 for its own errors too.
    errcode : int
        If not 0, every message is refused with it.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        key: str = KEY,
        corp_id: str = CORP_ID,
        secret: str = SECRET,
        agent_id: str = AGENT_ID,
        per_minute: int = 20,
        window_seconds: float = 60.0,
        log: Path | None = None,
    ) -> None:
        self.port = port
        self.key = key
        self.per_minute = per_minute
        self.window_seconds = window_seconds
        self.robot_messages: list[dict[str, Any]] = []
        self.application_messages: list[dict[str, Any]] = []
        self.refused: list[int] = []
        self.attempts = 0
        self.delay_seconds = 0.0
        self.status = 200
        self.errcode = 0
        self._corp_id, self._secret, self._agent_id = corp_id, secret, agent_id
        self._log = log
        self._tokens: set[str] = set()
        self._taken: deque[float] = deque()
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FakeWecom:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # for tests

    @property
    def url(self) -> str:
        """Address of this server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def robot_url(self) -> str:
        """The group robot's webhook, with its key."""
        return f"{self.url}/cgi-bin/webhook/send?key={self.key}"

    @property
    def api_url(self) -> str:
        """The value for Alertmanager's ``api_url``, instead of https://qyapi.weixin.qq.com/cgi-bin/."""
        return f"{self.url}/cgi-bin/"

    @property
    def robot_texts(self) -> list[str]:
        """The texts of the robot's accepted messages."""
        return [message[message["msgtype"]]["content"] for message in self.robot_messages]

    @property
    def application_texts(self) -> list[str]:
        """The texts of the application's accepted messages."""
        return [message[message["msgtype"]]["content"] for message in self.application_messages]

    def start(self) -> None:
        """Begin to listen; after a stop, on the same port."""
        self._released.clear()
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening: connections are refused, and delayed answers are dropped."""
        if self._server is None or self._thread is None:
            return
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None

    # answers
    def answer(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any] | None:
        """Status and JSON for a request; None if the server was stopped while the answer was delayed."""
        with self._lock:
            self.attempts += 1
        if self.delay_seconds and self._released.wait(self.delay_seconds):
            return None
        if self.status != 200:
            return self.status, {"error": "from the gateway, not from WeCom"}
        with self._lock:
            reply = self._reply(path, query, body)
        return 200, reply

    def control(self, values: dict[str, Any]) -> dict[str, Any]:
        """Set some of `delay_seconds`, `status`, `errcode`, `per_minute`; return all of them."""
        names = ("delay_seconds", "status", "errcode", "per_minute")
        for name in names:
            setattr(self, name, values.get(name, getattr(self, name)))
        return {name: getattr(self, name) for name in names}

    def received(self) -> list[dict[str, Any]]:
        """All accepted messages."""
        with self._lock:
            return [*self.robot_messages, *self.application_messages]

    def _reply(self, path: str, query: dict[str, str], body: bytes) -> dict[str, Any]:
        kind = "robot" if path.startswith("/cgi-bin/webhook/") else "application"
        try:
            if path == "/cgi-bin/webhook/send":
                return self._robot(query, _json(body))
            if path == "/cgi-bin/gettoken":
                return self._token(query)
            return self._application(query, _json(body))  # message/send
        except _Refused as refusal:
            self.refused.append(refusal.errcode)
            self._note(kind, refusal.errcode, None, None)
            return {"errcode": refusal.errcode, "errmsg": f"{refusal.errmsg}, hint: [0], from ip: 127.0.0.1"}

    def _robot(self, query: dict[str, str], message: Any) -> dict[str, Any]:
        if query.get("key") != self.key:
            raise _Refused(93000)
        content = _content(message, {"text": TEXT_BYTES, "markdown": MARKDOWN_BYTES})
        self._refuse_on_demand()
        if self._over_the_limit():
            raise _Refused(45009)
        self.robot_messages.append(message)
        self._note("robot", 0, content, message)
        return {"errcode": 0, "errmsg": "ok"}

    def _token(self, query: dict[str, str]) -> dict[str, Any]:
        self._refuse_on_demand()
        if query.get("corpid") != self._corp_id:
            raise _Refused(40013)
        if query.get("corpsecret") != self._secret:
            raise _Refused(40001)
        token = secrets.token_urlsafe(32)
        self._tokens.add(token)
        return {"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": 7200}

    def _application(self, query: dict[str, str], message: Any) -> dict[str, Any]:
        token = query.get("access_token")
        if token not in self._tokens:
            raise _Refused(40014 if token else 41001)
        content = _content(message, {"text": None, "markdown": TEXT_BYTES})
        if str(message.get("agentid")) != self._agent_id:
            raise _Refused(40056)
        if not any(message.get(name) for name in ("touser", "toparty", "totag")):
            raise _Refused(81013)
        self._refuse_on_demand()
        if message["msgtype"] == "text":  # an application's text is truncated, not refused
            content = content.encode()[:TEXT_BYTES].decode(errors="ignore")
            message["text"]["content"] = content
        self.application_messages.append(message)
        self._note("application", 0, content, message)
        return {"errcode": 0, "errmsg": "ok", "msgid": f"msg{len(self.application_messages)}"}

    def _refuse_on_demand(self) -> None:
        if self.errcode:
            raise _Refused(self.errcode)

    def _over_the_limit(self) -> bool:
        now = time.monotonic()
        while self._taken and now - self._taken[0] > self.window_seconds:
            self._taken.popleft()
        if len(self._taken) >= self.per_minute:
            return True
        self._taken.append(now)
        return False

    def _note(self, kind: str, errcode: int, content: str | None, message: dict[str, Any] | None) -> None:
        if self._log is None:
            return
        line = {"time": time.time(), "kind": kind, "errcode": errcode, "content": content, "message": message}
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


class _Refused(Exception):
    def __init__(self, errcode: int, kind: str = "markdown", limit: int = MARKDOWN_BYTES) -> None:
        super().__init__(errcode)
        self.errcode = errcode
        self.errmsg = ERRMSG.get(errcode, "unknown").format(kind=kind, limit=limit)


def _content(message: Any, limits: dict[str, int | None]) -> str:
    """The text of a message; `limits` has the allowed types and their maximum bytes."""
    if not isinstance(message, dict):
        raise _Refused(47001)
    msgtype = message.get("msgtype")
    if msgtype not in limits:
        raise _Refused(40008)
    content = message.get(msgtype, {}).get("content")
    if not isinstance(content, str) or not content:
        raise _Refused(44004)
    limit = limits[msgtype]
    if limit is not None and len(content.encode()) > limit:
        raise _Refused(40058, kind=msgtype, limit=limit)
    return content


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def _handler(wecom: FakeWecom) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = urlsplit(self.path)
            match parts.path:
                case "/control":
                    reply = 200, wecom.control(_json(body) or {})
                case "/received":
                    reply = 200, wecom.received()
                case _:
                    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                    reply = wecom.answer(parts.path, query, body)
            if reply is None:
                self.close_connection = True
                return
            status, value = reply
            content = json.dumps(value, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815  http.server's names

        def handle(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # the client disconnected
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="A fake of WeCom's server API.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (default)")
    parser.add_argument("--log", type=Path, help="append each message to this file, as a line of JSON")
    parser.add_argument("--key", default=KEY, help="key of the group robot")
    parser.add_argument("--per-minute", type=int, default=20, help="messages that the robot accepts in a minute")
    options = parser.parse_args()
    wecom = FakeWecom(options.port, key=options.key, per_minute=options.per_minute, log=options.log)
    wecom.start()
    print(f"robot: {wecom.robot_url}\napplication: {wecom.api_url}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        wecom.stop()


if __name__ == "__main__":
    main()
