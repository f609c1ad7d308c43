"""The one place where a network runs: ONNX Runtime sessions."""

from __future__ import annotations

import numpy as np
import onnxruntime

from ccmusic.errors import ModelRefused, NonFiniteOutput

INPUT_NAME = "cqt_db"
OUTPUT_NAME = "logits"


class OnnxBackend:
    """A network in ONNX Runtime on the CPU.

    Parameters
    ----------
    model : bytes
        An ONNX file with an input ``cqt_db`` [shape=(batch, n_bins, frames), dtype=float32] and an output ``logits``
        [shape=(batch, n_labels)]. Bytes and not a path, so that what runs is what was hashed.
    n_labels : int
        Classes that the card promises.
    threads : int
        Threads within one operator.

    Raises
    ------
    ModelRefused
        Not an ONNX model, or not with this input and output.
    """

    name = "onnxruntime-cpu"

    def __init__(self, model: bytes, n_labels: int, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises a class of its own for each of its status codes
            raise ModelRefused(f"ONNX Runtime cannot load the network: {_first_line(error)}") from error
        inputs = {node.name: node for node in self._session.get_inputs()}
        outputs = {node.name: node for node in self._session.get_outputs()}
        if set(inputs) != {INPUT_NAME} or OUTPUT_NAME not in outputs:
            raise ModelRefused(
                f"the network has inputs {sorted(inputs)} and outputs {sorted(outputs)}; "
                f"expected the input {INPUT_NAME!r} and an output {OUTPUT_NAME!r}"
            )
        width = outputs[OUTPUT_NAME].shape[-1]
        if isinstance(width, int) and width != n_labels:
            raise ModelRefused(f"the network has {width} outputs for the card's {n_labels} labels")
        self._n_labels = n_labels

    def logits(self, cqt_db: np.ndarray) -> np.ndarray:
        """Run the network.

        Parameters
        ----------
        cqt_db : np.ndarray [shape=(batch, n_bins, frames), dtype=float32]
            Windows in decibels relative to the loudest point of their recording.

        Returns
        -------
        np.ndarray [shape=(batch, n_labels), dtype=float32]

        Raises
        ------
        NonFiniteOutput
            The network answered NaN or infinity.
        """
        (logits,) = self._session.run([OUTPUT_NAME], {INPUT_NAME: cqt_db})
        answer: np.ndarray = logits
        if answer.shape != (len(cqt_db), self._n_labels):
            raise ModelRefused(f"the network answered with shape {answer.shape} for {self._n_labels} labels")
        if not np.isfinite(answer).all():
            raise NonFiniteOutput("the network answered NaN or infinity")
        return answer


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
