"""Posts to a WeCom group robot, with the standard library.

The webhook's address is a secret: anyone who has it can write to the group. It is read from its file for every message,
and no text from this module contains it. Exceptions of http.client, which quote their input, are replaced here.

References
----------
https://developer.work.weixin.qq.com/document/path/91770 (group robots)
https://developer.work.weixin.qq.com/document/path/90313 (error codes)
"""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

from ccmusic.alerting.failures import NotSent
from ccmusic.alerting.settings import ROBOT_API
from ccmusic.process.secret_file import read_secret

MAX_ANSWER_BYTES = 64 * 1024
RATE_LIMITED = 45009
_TEMPORARY = frozenset({-1, 45033, 50001})
"""Error codes worth a retry: system busy, too many concurrent calls, internal error of WeCom."""

_KEY = re.compile(r"[A-Za-z0-9_-]{8,128}")


class RobotAddress(NamedTuple):
    """Where to post, with the secret key; its repr shows neither."""

    parts: SplitResult
    key: str

    def __repr__(self) -> str:
        return "RobotAddress(...)"


class Robot:
    """One group robot.

    Parameters
    ----------
    url_file : Path
        Contains the robot's key or its whole webhook URL.
    """

    def __init__(self, url_file: Path) -> None:
        self._url_file = url_file

    def address(self) -> RobotAddress:
        """Read the file.

        Raises
        ------
        NotSent
            With the reason ``secret``: it cannot be read, or contains neither a key nor a webhook URL.
        """
        try:
            text = read_secret(self._url_file) or ""
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise NotSent("secret", f"{self._url_file}: {reason}", final=True) from None
        if _KEY.fullmatch(text):
            text = f"{ROBOT_API}?key={text}"
        try:
            parts = urlsplit(text)
            key = parse_qs(parts.query).get("key", [""])[0]
            usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and key
        except ValueError:
            usable = None
        if not usable or any(character.isspace() for character in text):
            raise NotSent(
                "secret", f"{self._url_file} contains neither a robot's key nor its webhook URL with ?key=", final=True
            )
        return RobotAddress(parts, key)

    def send(self, content: str, timeout_seconds: float) -> None:
        """Post one markdown message.

        Parameters
        ----------
        content : str
            At most 4096 bytes of UTF-8.
        timeout_seconds : float
            Limit of each operation on the connection.

        Raises
        ------
        NotSent
            WeCom did not confirm the message.
        """
        address = self.address()
        body = json.dumps({"msgtype": "markdown", "markdown": {"content": content}}, ensure_ascii=False).encode()
        try:
            status, answer = _post(address.parts, body, timeout_seconds)
        except TimeoutError:
            raise NotSent("timeout", f"no answer from {address.parts.hostname}") from None
        except OSError as error:
            raise NotSent("unreachable", f"{address.parts.hostname}: {_error_text(error)}") from None
        except (http.client.HTTPException, ValueError) as error:
            raise NotSent("bad_answer", f"{address.parts.hostname}: {type(error).__name__}") from None
        if status != 200:
            raise NotSent("http_status", f"{address.parts.hostname} answered with status {status}")
        _check_answer(answer, address.key)


def _post(parts: SplitResult, body: bytes, timeout_seconds: float) -> tuple[int, bytes]:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_seconds)
    try:
        target = quote(parts.path or "/") + "?" + parts.query
        connection.request("POST", target, body, {"Content-Type": "application/json; charset=utf-8"})
        response = connection.getresponse()
        return response.status, response.read(MAX_ANSWER_BYTES)
    finally:
        connection.close()


def _check_answer(answer: bytes, key: str) -> None:
    try:
        reply = json.loads(answer)
        errcode, errmsg = reply["errcode"], str(reply.get("errmsg", ""))
    except (ValueError, RecursionError, TypeError, LookupError, AttributeError):
        raise NotSent("bad_answer", "the answer is not JSON with an errcode") from None
    if errcode == 0:
        return
    text = f"errcode {errcode}: {errmsg.replace(key, '***')[:300]!r}"
    if errcode == RATE_LIMITED:
        raise NotSent("rate_limited", text)
    raise NotSent("rejected", text, final=errcode not in _TEMPORARY)


def _error_text(error: OSError) -> str:
    """Text of the system for an error, without its arguments."""
    return error.strerror or type(error).__name__
