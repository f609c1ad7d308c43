"""How many bytes of request bodies this process holds: they are admitted before they are read.

There are two rooms, memory and disk. Each is bounded in total and for each client, so that many large uploads can fill
neither, and one client cannot take it all. All of this belongs to the event loop.
"""

from __future__ import annotations

from collections.abc import Callable

from ccmusic.errors import Overloaded
from ccmusic.settings import Settings

RETRY_SECONDS = 5.0
"""For the header Retry-After of a body that is not admitted: a few uploads have ended by then."""


class Room:
    """A number of bytes that may be held, in total and by one client.

    Parameters
    ----------
    total : callable
        Returns the most bytes at present.
    client_share : float
        How much of it one client may hold.

    Attributes
    ----------
    held : int
    total : callable
        Returns the most bytes at present.
    """

    def __init__(self, total: Callable[[], int], client_share: float) -> None:
        self.total = total
        self._client_share = client_share
        self._by_client: dict[str, int] = {}
        self.held = 0

    def take(self, client: str, count: int) -> bool:
        """Hold `count` bytes more for a client; returns whether there is room."""
        total, of_client = self.total(), self._by_client.get(client, 0)
        if self.held + count > total or of_client + count > self._client_share * total:
            return False
        self.held += count
        self._by_client[client] = of_client + count
        return True

    def give_back(self, client: str, count: int) -> None:
        """Hold `count` bytes less."""
        self.held -= count
        left = self._by_client.pop(client, 0) - count
        if left > 0:
            self._by_client[client] = left


class Admissions:
    """The two rooms of a service.

    Parameters
    ----------
    settings : Settings
    free_disk : callable
        Returns the free bytes of the directory of temporary files, as last seen; None if they are not known.
    """

    def __init__(self, settings: Settings, free_disk: Callable[[], int | None] = lambda: None) -> None:
        self._most_on_disk = settings.max_bytes_on_disk
        self._free_disk = free_disk
        self.memory = Room(lambda: settings.max_bytes_in_memory, settings.max_client_share)
        self.disk = Room(self._disk_total, settings.max_client_share)

    def _disk_total(self) -> int:
        free = self._free_disk()
        return self._most_on_disk if free is None else min(self._most_on_disk, (self.disk.held + free) // 2)


class Admission:
    """What one request holds.

    Parameters
    ----------
    admissions : Admissions
    client : str
    memory_bytes : int or None
        Up to this size the body is held in memory if there is room, else on disk. None for a body that must be in
        memory.

    Attributes
    ----------
    on_disk : bool
        Whether what arrives from now on belongs on disk.
    """

    def __init__(self, admissions: Admissions, client: str, memory_bytes: int | None = None) -> None:
        self._admissions = admissions
        self._client = client
        self._memory_bytes = memory_bytes
        self._held = 0
        self.on_disk = False

    def admit(self, count: int) -> None:
        """Hold `count` bytes in all, before they are read.

        Raises
        ------
        Overloaded
            There is no room for them.
        """
        more = count - self._held
        if more <= 0:
            return
        memory, disk = self._admissions.memory, self._admissions.disk
        fits = self._memory_bytes is None or count <= self._memory_bytes
        if not self.on_disk and fits and memory.take(self._client, more):
            self._held = count
            return
        if self._memory_bytes is None or not disk.take(self._client, more if self.on_disk else count):
            raise Overloaded("too many bytes are being received at present; send this again later", RETRY_SECONDS)
        if not self.on_disk:
            memory.give_back(self._client, self._held)
            self.on_disk = True
        self._held = count

    def release(self) -> None:
        """Hold nothing any more."""
        room = self._admissions.disk if self.on_disk else self._admissions.memory
        if self._held:
            room.give_back(self._client, self._held)
            self._held = 0
