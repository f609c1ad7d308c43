"""A plain HTTP client whose connection is kept: it costs so little that a watcher may ask fifty times a second."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)", re.M)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def problem(self) -> str:
        """Slug of the problem details; empty where the body is none."""
        return self.json.get("type", "") if "problem+json" in self.headers.get("content-type", "") else ""

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of one metric that carry these labels; 0 when there is none."""
        total = 0.0
        for found, written, value in _SAMPLE.findall(self.text):
            if found == name and labels.items() <= dict(_LABEL.findall(written)).items():
                total += float(value)
        return total


class Client:
    """One kept connection to one address.

    A connection that the server has closed meanwhile is opened anew once, for `GET` alone: a `POST` that broke is an
    error that a client saw, and is to be counted.
    """

    def __init__(self, address: str, timeout: float = 60.0) -> None:
        self._address = address
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Send a request and read its answer; raises `OSError` or `http.client.HTTPException` where none comes."""
        again = self._connection is not None and method == "GET"
        try:
            return self._ask(method, path, body, headers or {})
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if isinstance(error, TimeoutError) or not again:
                raise
        try:
            return self._ask(method, path, body, headers or {})
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def get(self, path: str) -> Answer:
        """`GET`."""
        return self.ask("GET", path)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=self._timeout)
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        if response.will_close:
            self.close()
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
