"""The model behind mosec: two workers of one stage, with its timeout for `forward`."""

from __future__ import annotations

from typing import Any

import mosec
from rival_model import REQUEST_TIMEOUT_SECONDS, WORKERS, RivalModel


class GenreWorker(mosec.Worker):
    """The body is the recording itself; the answer is JSON, mosec's default."""

    def __init__(self) -> None:
        super().__init__()
        self.model = RivalModel()

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes) -> dict[str, Any]:
        return self.model.answer(data)


if __name__ == "__main__":
    server = mosec.Server()
    server.append_worker(GenreWorker, num=WORKERS, timeout=REQUEST_TIMEOUT_SECONDS)
    server.run()
