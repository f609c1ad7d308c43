"""The model that a new one starts from: its network up to the embedding."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import onnxruntime

from ccmusic.errors import DependencyUnavailable, InvalidParameter
from ccmusic.finetuning.plan import Tune
from ccmusic.models.card import Card
from ccmusic.models.store import ModelLocation, read_model

EMBEDDING = "embedding"
INSTALL: dict[Tune, str] = {"head": "pip install 'ccmusic[train-tools]'", "all": "pip install 'ccmusic[train]'"}


@dataclass(frozen=True)
class Start:
    """A model with an embedding.

    Attributes
    ----------
    card : Card
        Of the network in float32.
    model : bytes
        Its ONNX file.
    threads : int
        On which it runs.
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


def read_start(location: ModelLocation, threads: int = 1) -> Start:
    """Read a model to start from.

    Parameters
    ----------
    location : ModelLocation
    threads : int

    Returns
    -------
    Start

    Raises
    ------
    ModelError
        It cannot be read.
    InvalidParameter
        It has no embedding, or hears something else than the constant-Q transform.
    """
    card, model = read_model(replace(location, precision="float32"))
    if card.features.kind != "cqt_db" or card.drawing is not None or card.placing != "covering":
        raise InvalidParameter(
            "--from", f"must name a model that hears the constant-Q transform itself, such as embedded; {card.name} not"
        )
    start = Start(card, model, threads)
    outputs = [node.name for node in start._session.get_outputs()]
    if EMBEDDING not in outputs:
        raise InvalidParameter(
            "--from",
            f"must name a model with an output {EMBEDDING!r}, such as embedded; {card.name} has {', '.join(outputs)}",
        )
    return start


def require_installed(tune: Tune) -> None:
    """Say what is missing before the work, and not after it.

    Raises
    ------
    DependencyUnavailable
    """
    for name in ("onnx", "scipy", *(("torch",) if tune == "all" else ())):
        try:
            # Here and not above: extras, which the rest of the program does without.
            importlib.import_module(name)
        except ImportError as error:
            raise DependencyUnavailable(f"--tune {tune} needs {error.name}: {INSTALL[tune]}") from error
