"""The other end of ``NOTIFY_SOCKET``: what systemd would hear."""

from __future__ import annotations

import socket
import time
from types import TracebackType


class NotifySocket:
    """A bound datagram socket that keeps what comes.

    Parameters
    ----------
    name : str
        A path, or ``@name`` in the abstract namespace.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self._socket.setblocking(False)
        self._received: list[tuple[float, str]] = []

    def __enter__(self) -> NotifySocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def messages(self) -> list[str]:
        """All so far, oldest first."""
        self._read()
        return [message for _, message in self._received]

    def forget(self) -> None:
        """Drop what was received, for the next process."""
        self._read()
        self._received.clear()

    def heard(self, message: str) -> bool:
        return message in self.messages

    @property
    def status(self) -> str:
        """The last ``STATUS=``."""
        return next((m.removeprefix("STATUS=") for m in reversed(self.messages) if m.startswith("STATUS=")), "")

    def silent_seconds(self, message: str) -> float:
        """Since this was last heard; 0 where it never was."""
        self._read()
        return next((time.monotonic() - at for at, heard in reversed(self._received) if heard == message), 0.0)

    def _read(self) -> None:
        while True:
            try:
                text = self._socket.recv(65536).decode()
            except BlockingIOError:
                return
            self._received += [(time.monotonic(), line) for line in text.split("\n")]
