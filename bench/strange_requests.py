"""Strange requests to every route, Gradio's own included: the statuses, and answers and log lines that say too much.

Starts a service of its own, sends COUNT mutants of real requests, and prints what is wrong, or that nothing is.

    python bench/strange_requests.py [COUNT] [SEED]
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hostile_requests import RECORDING, Service, running_service

CLIP = {
    "path": "CLIP",
    "orig_name": "clip.wav",
    "size": 1,
    "mime_type": "audio/wav",
    "meta": {"_type": "gradio.FileData"},
}
CALLS: list[tuple[str, str, Any]] = [
    (
        "POST",
        "/gradio_api/queue/join",
        {"data": [CLIP, "whole", None], "fn_index": 3, "trigger_id": 5, "session_hash": "s"},
    ),
    ("POST", "/gradio_api/run/predict", {"data": [], "fn_index": 0, "session_hash": "s"}),
    ("POST", "/gradio_api/api/predict", {"data": [], "fn_index": 1, "session_hash": "s"}),
    ("POST", "/gradio_api/run/classify", {"data": [CLIP, "whole"]}),
    ("POST", "/gradio_api/call/classify", {"data": [CLIP, "whole"]}),
    ("POST", "/gradio_api/call/v2/classify", {"audio": CLIP, "windows": "whole"}),
    ("POST", "/gradio_api/cancel", {"session_hash": "s", "fn_index": 0, "event_id": "e"}),
    ("POST", "/gradio_api/reset", {"event_id": "e"}),
    ("GET", "/gradio_api/queue/status", None),
    ("GET", "/gradio_api/queue/data?session_hash=s", None),
    ("GET", "/gradio_api/call/classify/e", None),
    ("GET", "/gradio_api/info?all_endpoints=true", None),
    ("GET", "/gradio_api/upload_progress?upload_id=a", None),
    ("GET", "/gradio_api/file=CLIP", None),
    ("HEAD", "/gradio_api/file=CLIP", None),
    ("GET", "/gradio_api/heartbeat/s", None),
    ("GET", "/gradio_api/app_id", None),
    ("GET", "/gradio_api/openapi.json", None),
    ("GET", "/config?deep_link=x", None),
    ("GET", "/?view=api&__theme=dark", None),
    ("GET", "/static/img/x.svg", None),
    ("GET", "/assets/index.js", None),
    ("GET", "/svelte/svelte.js", None),
    ("GET", "/theme.css?v=1", None),
    ("GET", "/pwa_icon/64", None),
    ("GET", "/manifest.json", None),
    ("GET", "/v1/genres?taxonomy=ccmusic", None),
    (
        "POST",
        "/v2/models/ccmusic/infer",
        {"inputs": [{"name": "audio", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}]},
    ),
    ("POST", "/v2/repository/index", {"ready": True}),
    ("POST", "/v2/repository/models/x/load", {}),
    ("GET", "/metrics?name[]=x", None),
    ("GET", "/health?verbose", None),
]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO")
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 3, 7, 99, 2**31, 2**63, -(2**63), 10**400, 1.5, float("nan"), "", "a", "x" * 3000,
    "\0", "\n",
    "\x1b[2J", "é", "\U0001f3b5", "\ud800", "/etc/passwd", "../../etc/passwd", "http://127.0.0.1/",
    "file:///etc/passwd",
    "/dev/zero", "/proc/self/environ", [], {}, [[]], {"a": 1}, [None] * 30, {"__type__": "update"}, {"path": None},
    {"path": 5},
    {"path": "", "meta": {"_type": "gradio.FileData"}}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    {"url": "http://127.0.0.1/", "meta": {"_type": "gradio.FileData"}}, {"is_stream": True, "path": "a"},
    {"component": "Audio", "value": 1}, {"data": "data:audio/wav;base64,AAAA", "name": "a"},
]  # fmt: skip
PIECES = ["%00", "%0a", "%0d", "%1b", "%ff", "..", "%2e%2e", "%2f", "//", "a" * 500, "%", "%zz", "?", "&",
"=", ";", "#",
          "http:", "{}", "*", "'", '"', "<script>", "/etc/passwd", "%ed%a0%80", "~", "."]  # fmt: skip
HEADERS = [
    ("Content-Type", ["application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=",
    "x" * 200, "",
                      "application/json; charset=hex", "application/x-www-form-urlencoded", "a/b; charset=utf-16"]),
    ("Accept", ["*/*", "a" * 900, "text/html;q=abc", "application/health+json", ""]),
    ("Accept-Language", ["zh", "x" * 500, "en;q=2", "\xff"]),
    ("Cookie", ["a=b", "=;=;", '"\\' * 100, "session=x; access-token=y"]),
    ("Origin", ["http://evil", "null", "\xe9"]),
    ("Referer", ["http://evil/?a=b", "x", "http://[", "//"]),
    ("X-Forwarded-Host", ["evil", "a b", "[", "x/" * 50]),
    ("X-Forwarded-Proto", ["javascript", ""]),
    ("X-Request-Id", ["a\tb", "x" * 100]),
    ("Range", ["bytes=0-", "bytes=5-1", "bytes=a", "bytes=0-0,5-6,7-", "bytes=-99999999999999999999", "x"]),
    ("If-Modified-Since", ["x"]),
    ("Content-Encoding", ["gzip", "br", "x"]),
    ("Authorization", ["Bearer x", "Basic x", "\xff"]),
    ("Host", ["evil", "[", "a b", "x:99999", "", "\xe9"]),
    ("Inference-Header-Content-Length", ["0", "5", "-1", "9" * 40, "x"]),
    ("Content-Length", []),
]  # fmt: skip
TOO_MUCH = re.compile(
    rb'Traceback \(most|File "[^"]*\.py"|site-packages|/(root|home|tmp|usr|work|proc|etc)/[a-z0-9_.-]+'
    rb"|\b0x[0-9a-f]{6,}|object at 0x",
    re.I,
)


def mutated_value(value: Any, r: random.Random) -> Any:
    """The value with one change somewhere in it."""
    if isinstance(value, dict) and value and r.random() < 0.85:
        key = r.choice(list(value))
        changed = dict(value)
        match r.randrange(8):
            case 0:
                del changed[key]
            case 1:
                changed[r.choice(["x", "path", "meta", "", "a\n", "data", "fn_index", "batched", "oauth_token"])] = (
                    r.choice(VALUES)
                )
            case _:
                changed[key] = mutated_value(value[key], r)
        return changed
    if isinstance(value, list) and value and r.random() < 0.85:
        changed = list(value)
        at = r.randrange(len(changed))
        match r.randrange(6):
            case 0:
                del changed[at]
            case 1:
                changed.insert(at, r.choice(VALUES))
            case _:
                changed[at] = mutated_value(changed[at], r)
        return changed
    return r.choice(VALUES)


def mutant(r: random.Random, clip: str) -> tuple[str, str, bytes, dict[str, str]]:
    """Method, target, body and headers of a strange request."""
    method, path, value = r.choice(CALLS)
    headers: dict[str, str] = {}
    body = b""
    if value is not None:
        for _ in range(r.randrange(4)):
            value = mutated_value(value, r)
        body = json.dumps(value).replace('"CLIP"', json.dumps(clip)).encode()
        headers["Content-Type"] = "application/json"
        if r.random() < 0.1:
            at = r.randrange(len(body) + 1)
            body = body[:at] + os.urandom(3) + body[at + r.randrange(9) :]
    path = path.replace("CLIP", clip)
    if r.random() < 0.3:
        at = r.randrange(1, len(path) + 1)
        path = path[:at] + r.choice(PIECES) + path[at + r.randrange(3) :]
    if r.random() < 0.1:
        method = r.choice(METHODS)
    for _ in range(r.choice([0, 0, 1, 2])):
        name, values = r.choice(HEADERS)
        if values:
            headers[name] = r.choice(values)
    if path.startswith("/gradio_api/upload") or r.random() < 0.03:
        path, method = "/gradio_api/upload" + r.choice(["", "?upload_id=a", "?upload_id=" + "x" * 100]), "POST"
        headers["Content-Type"] = "multipart/form-data; boundary=B" + r.choice(
            ["", "; charset=hex", "; charset=undefined"]
        )
        disposition = r.choice(
            [
                b'form-data; name="files"; filename="a.wav"', b'form-data; name="files"',
                b'form-data; name="x"; filename="a"',
                b'form-data; filename="a"', b'form-data; name="files"; filename="\xff\x00"',
                b'form-data; name="files"; filename=""',
                b'form-data; name="files"; filename="' + b"a" * 900 + b'"', b"attachment", b'form-data; name="\xff"',
                b"form-data; name=\"files\"; filename*=hex''zz", b'form-data; name="files"; filename="../../x"',
                b'form-data; name="files"; filename="/"', b'form-data; name="files"; filename=".."',
            ]
        )  # fmt: skip
        part = (
            b"--B\r\nContent-Disposition: "
            + disposition
            + r.choice([b"\r\n\r\n", b"\n\n", b"\r\nX\r\n\r\n"])
            + b"abc\r\n"
        )
        body = part * r.randrange(4) + r.choice([b"--B--\r\n", b"--B", b"", b"--B--"])
    return method, path, body, headers


def send(service: Service, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int | str, bytes]:
    """Status and the first bytes of an answer; event streams are left after two seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=3)
    connection._validate_path = connection._validate_method = lambda _: None  # type: ignore[attr-defined]
    answer = b""
    try:
        connection.putrequest(method, path.replace(" ", "+"), skip_host="Host" in headers)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            connection.putheader(name, value.encode("latin-1"))
        connection.endheaders(body)
        response = connection.getresponse()
        status: int | str = response.status
        if method != "HEAD":
            while len(answer) < 200_000 and (piece := response.read1(65536)):
                answer += piece
    except TimeoutError:
        return "stream", answer
    except (http.client.HTTPException, OSError, UnicodeError) as error:
        return type(error).__name__, answer
    finally:
        connection.close()
    return status, answer


def main() -> None:
    """Send them, and print what is wrong."""
    count, seed = int((*sys.argv[1:], 3000)[0]), int((*sys.argv[1:], 0, 1)[1])
    log = Path(tempfile.mkdtemp()) / "log"
    os.environ["HOSTILE_LOG"] = str(log)
    os.environ["CCMUSIC_PAGE_REQUESTS_PER_SECOND"] = "100000"  # what is strange is asked here, not what is much
    statuses: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    with running_service() as service:
        form = (
            b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
            + RECORDING
            + b"\r\n--B--\r\n"
        )
        clip = json.loads(
            service.call("POST", "/gradio_api/upload", form, {"Content-Type": "multipart/form-data; boundary=B"})[1]
        )[0]
        for number in range(count):
            method, path, body, headers = mutant(random.Random(f"{seed}-{number}"), clip)
            status, answer = send(service, method, path, body, headers)
            statuses[str(status)] += 1
            ok = status == "stream" or (
                isinstance(status, int) and (200 <= status < 300 or 400 <= status < 500 or status == 304)
            )
            is_page = path.startswith(
                ("/?", "/config", "/gradio_api/openapi", "/gradio_api/info", "/assets", "/static", "/svelte")
            )
            said = (
                None
                if is_page
                else TOO_MUCH.search(
                    answer.replace(clip.encode(), b"").replace(str(Path(clip).parents[1]).encode(), b"")
                )
            )
            if not ok or said:
                kind = f"{status} {path[:30]} {said and said[0]!r}"
                shown[kind] += 1
                if shown[kind] <= 2:
                    print(
                        number,
                        method,
                        path[:120],
                        body[:200],
                        headers,
                        "->",
                        status,
                        answer[:300],
                        said and said[0],
                        flush=True,
                    )
        print("readyz", service.call("GET", "/readyz"))
        print("statuses", dict(statuses))
    print("log:", log.stat().st_size, "bytes; longest line", max(map(len, log.read_bytes().split(b"\n"))),
          "control characters", len(re.findall(rb"[\x00-\x08\x0b-\x1f\x7f]", log.read_bytes())))  # fmt: skip
    for line, times in Counter(
        re.findall(r"^\w*(?:Error|Exception).*$", log.read_text(errors="replace"), re.M)
    ).most_common(25):
        print(times, line[:160])


if __name__ == "__main__":
    main()
