"""API keys, and how many recordings each client may send in a minute."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ccmusic.errors import InvalidSettings, TooManyRequests
from ccmusic.health.clock import CLOCK
from ccmusic.process.secret_file import read_secret

MAX_CLIENTS = 10_000
SHORTEST_KEY = 16


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that clients may send.

    Attributes
    ----------
    name : str
        Who has it.
    per_minute : float or None
        Recordings in a minute; None: as a client without a key.
    """

    name: str
    per_minute: float | None = None


class ApiKeys:
    """The keys of a file. Each line has a name, a key and, optionally, a number of recordings in a minute.

    Empty lines and lines that begin with ``#`` are ignored. Only hashes of the keys are kept.

    Parameters
    ----------
    path : Path or None
        None: there are no keys.

    Raises
    ------
    InvalidSettings
        The file cannot be read, or a line is not as above. The text never has a key.
    """

    def __init__(self, path: Path | None) -> None:
        self._keys = {} if path is None else _read(path)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def rates(self) -> dict[str, float]:
        """Recordings in a minute, by the name of the client, for the keys that have a number."""
        return {_client(key): key.per_minute for key in self._keys.values() if key.per_minute is not None}

    def client_of(self, authorization: str) -> str | None:
        """The name of the client that sends this header ``Authorization: Bearer KEY``; None if the key is unknown."""
        scheme, _, secret = authorization.partition(" ")
        key = self._keys.get(_digest(secret.strip()))
        return None if key is None or scheme.lower() != "bearer" else _client(key)


def _client(key: ApiKey) -> str:
    return f"key {key.name}"


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def _read(path: Path) -> dict[bytes, ApiKey]:
    where = "CCMUSIC_API_KEYS_FILE"
    try:
        text = read_secret(path) or ""
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{where}: {path} cannot be read: {error}") from error
    keys: dict[bytes, ApiKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            name, secret, *rate = words
            key = ApiKey(name, float(*rate) if rate else None)
        except (TypeError, ValueError):
            raise InvalidSettings(f"{where}: line {number} of {path} is not NAME KEY [RECORDINGS_PER_MINUTE]") from None
        if len(secret) < SHORTEST_KEY or (key.per_minute is not None and not 0 < key.per_minute < float("inf")):
            raise InvalidSettings(
                f"{where}: line {number} of {path}: a key has at least {SHORTEST_KEY} characters, and a rate is above 0"
            )
        keys[_digest(secret)] = key
    if not keys:
        raise InvalidSettings(f"{where}: {path} has no key")
    return keys


class Rates:
    """How much each client may send in a time, such as 30 recordings in a minute. Belongs to the event loop.

    A client that was quiet may send all of it at once.

    Parameters
    ----------
    most : float
        Of each client in the time; 0: as many as it likes.
    others : mapping of str to float
        The same for certain clients.
    seconds : float
        The time.
    what : str
        What is counted, for the text of a refusal.
    """

    def __init__(
        self,
        most: float,
        others: Mapping[str, float] | None = None,
        *,
        seconds: float = 60.0,
        what: str = "recordings",
    ) -> None:
        self._most = most
        self._others = dict(others or {})
        self._seconds = seconds
        self._what = what
        self._free_at: OrderedDict[str, float] = OrderedDict()  # by client: when all that it sent is its share

    def take(self, client: str) -> None:
        """Count one of this client.

        Raises
        ------
        TooManyRequests
            It has sent too many. This one does not count.
        """
        most = self._others.get(client, self._most)
        if not most:
            return
        now, interval = CLOCK.now(), self._seconds / most
        free_at = max(self._free_at.get(client, now), now)
        wait = free_at + interval - now - max(self._seconds, interval)
        if wait > 0:
            raise TooManyRequests(
                f"{client} may send {most:g} {self._what} in {self._seconds:g} seconds, and has", wait
            )
        self._free_at[client] = free_at + interval
        self._free_at.move_to_end(client)
        while len(self._free_at) > MAX_CLIENTS:
            self._free_at.popitem(last=False)
