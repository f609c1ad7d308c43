"""The model behind LitServe: two workers, `restart_workers` on, and its own `/health`.

No `from __future__ import annotations`: LitServe reads the annotation of `decode_request` to know what it is given.
"""

import sys
from typing import Any

import litserve
from fastapi import Request
from rival_model import REQUEST_TIMEOUT_SECONDS, WORKERS, RivalModel


class GenreApi(litserve.LitAPI):
    """`health()` is not overridden: it runs in the HTTP process and cannot see into a worker."""

    def setup(self, device: str) -> None:
        self.model = RivalModel()

    def decode_request(self, request: Request) -> bytes:
        return request["audio"].file.read()

    def predict(self, x: bytes) -> dict[str, Any]:
        return self.model.answer(x)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    litserve.LitServer(
        GenreApi(),
        accelerator="cpu",
        workers_per_device=WORKERS,
        timeout=REQUEST_TIMEOUT_SECONDS,
        restart_workers=True,
    ).run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
