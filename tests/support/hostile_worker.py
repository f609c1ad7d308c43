"""A worker that a recording takes over: the fork server imports this module, and its workers then do what jobs say.

A job whose recording begins with `ORDER` and the name of an attack is answered with that attack instead of a message.
"""

from __future__ import annotations

import json
import os
import pickle
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ccmusic.workers.channel import Job
from ccmusic.workers.message_stream import HEAD, MessageStream

ORDER = b"hostile "
_next: list[list[str]] = []


class MakesAFile:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self._path),)


def attack(name: str, path: str, descriptor: int) -> None:
    """Write the bytes of an attack to the connection."""
    match name:
        case "pickle":
            Connection(os.dup(descriptor)).send(MakesAFile(path))
        case "pickle in a message":
            _write(descriptor, pickle.dumps(MakesAFile(path)))
        case "garbage":
            os.write(descriptor, b"\xa5" * 65536)
        case "a huge length":
            os.write(descriptor, HEAD.pack(2, 2**62))
        case "an endless message":
            os.write(descriptor, HEAD.pack(2, 2**25))
        case "another message":
            _write(descriptor, json.dumps(["Injected", [0]]).encode())
        case "nesting":
            _write(descriptor, b"[" * 500_000)


def _write(descriptor: int, text: bytes) -> None:
    data = HEAD.pack(len(text), 0) + text
    while data:
        data = data[os.write(descriptor, data) :]


def _install() -> None:
    receive, send = MessageStream.receive, MessageStream.send

    def receive_and_look(self: MessageStream, *arguments: Any, **options: Any) -> Any:
        message = receive(self, *arguments, **options)
        if isinstance(message, Job) and bytes(message.source).startswith(ORDER):
            _next.append(bytes(message.source)[len(ORDER) :].decode().split("|"))
        return message

    def send_or_attack(self: MessageStream, *arguments: Any, **options: Any) -> None:
        if _next:
            attack(*_next.pop(), self.fileno())
        else:
            send(self, *arguments, **options)

    MessageStream.receive, MessageStream.send = receive_and_look, send_or_attack  # type: ignore[method-assign]


_install()
