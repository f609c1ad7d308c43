"""A plain HTTP client that keeps its connection: so cheap that a watcher can send fifty requests a second."""

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
    """An HTTP answer."""

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
        """Type of the problem details; empty if the body is something else."""
        return self.json.get("type", "") if "problem+json" in self.headers.get("content-type", "") else ""

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of one metric with these labels; 0 if there are none."""
        total = 0.0
        for found, written, value in _SAMPLE.findall(self.text):
            if found == name and labels.items() <= dict(_LABEL.findall(written)).items():
                total += float(value)
        return total


class Client:
    """One kept connection to one address; `source` is the local address, if another than the usual one.

    If the server has closed the connection meanwhile, it is opened again once, but only for `GET`. A `POST` that fails
    is an error that a client sees, so it must be counted.
    """

    def __init__(self, address: str, timeout: float = 60.0, source: str = "") -> None:
        self._address = address
        self._source = (source, 0) if source else None
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Send a request and read its answer; raises `OSError` or `http.client.HTTPException` if there is none."""
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
            self._connection = http.client.HTTPConnection(
                self._address, timeout=self._timeout, source_address=self._source
            )
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        if response.will_close:
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
