"""Runs a network with ONNX Runtime, on the CPU or a GPU."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime

from ccmusic.errors import DependencyUnavailable, ModelRefused
from ccmusic.inference.backend import OUTPUT_NAME, Device, checked, require_interface

PROVIDERS: dict[str, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""ONNX Runtime's execution providers, by device."""


def device_for(requested: Device) -> str:
    """The device to use for the setting ``device``.

    Returns
    -------
    str
        A key of `PROVIDERS`.

    Raises
    ------
    DependencyUnavailable
        ``cuda`` is requested and this installation does not support it; the text lists the available providers.
    """
    available = onnxruntime.get_available_providers()
    has_cuda = PROVIDERS["cuda"] in available
    if requested == "cuda" and not has_cuda:
        raise DependencyUnavailable(
            f"a GPU was requested (CCMUSIC_DEVICE=cuda), but this ONNX Runtime has only {', '.join(available)}: "
            "install onnxruntime-gpu in place of onnxruntime, or set CCMUSIC_DEVICE=cpu"
        )
    return "cuda" if has_cuda and requested in ("auto", "cuda") else "cpu"


class OnnxBackend:
    """A network in ONNX Runtime.

    Parameters
    ----------
    model : bytes
        An ONNX file with one input [shape=(batch, ...), dtype=float32] and an output ``logits``
        [shape=(batch, n_labels)].
    n_labels : int
        Number of the card's labels.
    threads : int
        Threads within one operation.
    device : str
        A key of `PROVIDERS`.
    input_name : str
        Required name of the network's input.
    heads : mapping of str to int
        Further outputs: name and number of labels.

    Raises
    ------
    ModelRefused
        Not an ONNX model, or another input or output.
    DependencyUnavailable
        The session does not run on the device.
    """

    def __init__(
        self,
        model: bytes,
        n_labels: int,
        threads: int = 1,
        device: str = "cpu",
        *,
        input_name: str = "cqt_db",
        heads: Mapping[str, int] | None = None,
    ) -> None:
        self.name = f"onnxruntime-{device}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        provider = PROVIDERS[device]
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=[provider])
        except Exception as error:  # ONNX Runtime raises a class of its own for each of its status codes
            raise ModelRefused(f"ONNX Runtime cannot load the network: {_first_line(error)}") from error
        # ONNX Runtime keeps the file's bytes to recreate the session. We never do that, and with VGG19-BN they take
        # half a gigabyte in every worker.
        self._session._model_bytes = None
        # If a provider does not start (no driver, no memory), ONNX Runtime falls back to the CPU silently.
        if (used := self._session.get_providers()[0]) != provider:
            raise DependencyUnavailable(
                f"the network was to run on {provider}, but ONNX Runtime fell back to {used}: "
                "check the GPU's driver and CUDA libraries, or set CCMUSIC_DEVICE=cpu"
            )
        inputs = [node.name for node in self._session.get_inputs()]
        outputs = {node.name: node for node in self._session.get_outputs()}
        self._widths = {OUTPUT_NAME: n_labels, **(heads or {})}
        require_interface(inputs, {name: node.shape[-1] for name, node in outputs.items()}, input_name, self._widths)
        self._input_name = input_name

    def logits(self, windows: np.ndarray) -> np.ndarray:
        """`Backend.logits`."""
        return self.all_logits(windows)[0]

    def all_logits(self, windows: np.ndarray) -> tuple[np.ndarray, ...]:
        """`Backend.all_logits`."""
        answers = self._session.run([*self._widths], {self._input_name: windows})
        widths = self._widths.values()
        return tuple(checked(answer, len(windows), n) for answer, n in zip(answers, widths, strict=True))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
