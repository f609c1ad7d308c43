"""The model that a new one is made from: its network up to the embedding."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import onnxruntime

from ccmusic.errors import InvalidParameter, of_extra
from ccmusic.finetuning.plan import Tune
from ccmusic.models.card import Card
from ccmusic.models.store import ModelLocation, read_model

EMBEDDING = "embedding"
EXTRAS: dict[Tune, str] = {"head": "train-tools", "all": "train"}
"""The extra that installs what each tuning needs."""


@dataclass(frozen=True)
class BaseModel:
    """A model with an embedding.

    Attributes
    ----------
    card : Card
        Of the network in float32.
    model : bytes
        Its ONNX file.
    threads : int
        Threads of the runtime.
    """

    card: Card
    model: bytes
    threads: int = 1

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        return onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])

    def embed(self, cqt_db: np.ndarray) -> np.ndarray:
        """Embeddings of windows.

        Parameters
        ----------
        cqt_db : np.ndarray [shape=(batch, 84, frames), dtype=float32]

        Returns
        -------
        np.ndarray [shape=(batch, embedding size), dtype=float32]
        """
        return np.asarray(self._session.run([EMBEDDING], {self.card.input_name: cqt_db})[0])


def read_base_model(location: ModelLocation, threads: int = 1) -> BaseModel:
    """Read a base model.

    Parameters
    ----------
    location : ModelLocation
    threads : int

    Returns
    -------
    BaseModel

    Raises
    ------
    ModelError
        It cannot be read.
    InvalidParameter
        It has no embedding output, or its input is not the constant-Q transform itself.
    """
    card, model = read_model(replace(location, precision="float32"))
    if card.features.kind != "cqt_db" or card.drawing is not None or card.placing != "covering":
        raise InvalidParameter(
            "--from",
            f"must name a model whose input is the constant-Q transform, such as embedded; that of {card.name} is not",
        )
    start = BaseModel(card, model, threads)
    outputs = [node.name for node in start._session.get_outputs()]
    if EMBEDDING not in outputs:
        raise InvalidParameter(
            "--from",
            f"must name a model with an output {EMBEDDING!r}, such as embedded; {card.name} has {', '.join(outputs)}",
        )
    return start


def require_installed(tune: Tune) -> None:
    """Check the optional packages before the work begins.

    Raises
    ------
    PackageMissing
    """
    for name in ("onnx", "scipy", *(("torch",) if tune == "all" else ())):
        with of_extra(EXTRAS[tune], f"--tune {tune} needs the package {name}"):
            # imported late: optional packages
            importlib.import_module(name)
