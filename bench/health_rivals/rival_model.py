"""What all rivals run in each of their workers: our pipeline with the embedded model, and two faults to order.

One file for both, so that they differ in the framework and in nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ccmusic.errors import CcmusicError
from ccmusic.inference.backend import Execution
from ccmusic.inference.pipeline import Pipeline
from ccmusic.inference.runtimes import open_backend
from ccmusic.models.store import locate, read_model

LOOP = b"FAULT loop"
CORRUPT = b"FAULT corrupt"
WORKERS = 2
MODEL_NAME = "genres"
CANARY_RECORDING = Path(__file__).parents[2] / "examples" / "soul.ogg"
REQUEST_TIMEOUT_SECONDS = 10


class RivalModel:
    """A pipeline that says where it runs, and that breaks when it is told to.

    The pid goes into a directory named by the bench: no framework tells its workers' pids over HTTP.
    """

    def __init__(self) -> None:
        self._location = locate(os.environ["RIVAL_MODEL"])
        self._pipeline = Pipeline.load(self._location)
        self._marks = Path(os.environ["RIVAL_MARKS"])
        self._mark("worker")

    def answer(self, body: bytes) -> dict[str, Any]:
        """Classify a recording, or carry out the fault that the body names."""
        if body == LOOP:
            self._mark("looping")
            while True:
                pass
        if body == CORRUPT:
            self._corrupt()
            self._mark("corrupted")
            return {"corrupted": os.getpid()}
        try:
            return self._pipeline.classify(body).as_json()
        except CcmusicError as error:
            return {"error": str(error)}

    def _corrupt(self) -> None:
        # The file is right and stays right; only what this process computes with is not. ONNX Runtime gives no way to
        # its packed weights, so the network is built again in this process from altered bytes.
        import onnx
        from onnx import numpy_helper

        card, model = read_model(self._location)
        network = onnx.load_from_string(model)
        largest = max(network.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        largest.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(largest), largest.name))
        self._pipeline.network.backend = open_backend(network.SerializeToString(), card, Execution())

    def _mark(self, what: str) -> None:
        (self._marks / f"{what}-{os.getpid()}").touch()
