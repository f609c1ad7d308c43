"""The one place where it is decided what runs a network: ONNX Runtime on the processor or a GPU, or OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import onnxruntime

from ccmusic.errors import DependencyUnavailable, ModelRefused, NonFiniteOutput
from ccmusic.models.card import Card

OUTPUT_NAME = "logits"

Device = Literal["auto", "cpu", "cuda"]

PROVIDERS: dict[str, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""ONNX Runtime's execution providers by the device that the setting names."""


@dataclass(frozen=True, slots=True)
class Execution:
    """Where a network runs.

    Attributes
    ----------
    threads : int
        Threads within one operator, on the processor.
    device : {"auto", "cpu", "cuda"}
        ``auto`` takes a GPU when this installation of ONNX Runtime can use one and one is there.
    """

    threads: int = 1
    device: Device = "cpu"


class Backend(Protocol):
    """A loaded network."""

    name: str

    def logits(self, windows: np.ndarray) -> np.ndarray:
        """Answer a batch.

        Parameters
        ----------
        windows : np.ndarray [shape=(batch, ...), dtype=float32]
            As `ccmusic.inference.front_end` makes them.

        Returns
        -------
        np.ndarray [shape=(batch, n_labels), dtype=float32]

        Raises
        ------
        NonFiniteOutput
            The network answered NaN or infinity.
        """
        ...

    def all_logits(self, windows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Answer a batch with every output that was asked for when the network was loaded, from one run.

        Returns
        -------
        tuple of np.ndarray [shape=(batch, n_labels), dtype=float32]
            What `logits` gives, to the last bit, then the heads in their order.
        """
        ...


def open_backend(model: bytes, card: Card, execution: Execution) -> Backend:
    """Load a network with what its card says runs it.

    Parameters
    ----------
    model : bytes
        An ONNX file. Bytes and not a path, so that what runs is what was hashed.
    card : Card
        Names runtime and precision; its features name the network's input, its heads further outputs.
    execution : Execution

    Returns
    -------
    Backend

    Raises
    ------
    ModelRefused
        Not an ONNX model, or not with the card's input and outputs.
    DependencyUnavailable
        The runtime, or the GPU that was asked for, is not there.
    """
    heads = {head.output: len(head.labels) for head in card.heads}
    if card.runtime == "openvino":
        # Here and not above: an extra that few need.
        from ccmusic.inference.openvino import OpenVinoBackend

        return OpenVinoBackend(model, len(card.labels), execution.threads, card.precision, heads=heads)
    return OnnxBackend(
        model,
        len(card.labels),
        execution.threads,
        device_for(execution.device),
        input_name=card.input_name,
        heads=heads,
    )


def device_for(asked: Device) -> str:
    """The device that is used when this one is asked for.

    Returns
    -------
    str
        A key of `PROVIDERS`.

    Raises
    ------
    DependencyUnavailable
        ``cuda`` is asked for and this installation has no provider for it; the text lists those that it has.
    """
    available = onnxruntime.get_available_providers()
    has_cuda = PROVIDERS["cuda"] in available
    if asked == "cuda" and not has_cuda:
        raise DependencyUnavailable(
            f"a GPU was asked for (CCMUSIC_DEVICE=cuda), but ONNX Runtime has only {', '.join(available)} here: "
            "install onnxruntime-gpu in place of onnxruntime, or set CCMUSIC_DEVICE=cpu"
        )
    return "cuda" if has_cuda and asked in ("auto", "cuda") else "cpu"


class OnnxBackend:
    """A network in ONNX Runtime.

    Parameters
    ----------
    model : bytes
        An ONNX file with one input [shape=(batch, ...), dtype=float32] and an output ``logits``
        [shape=(batch, n_labels)].
    n_labels : int
        Classes that the card promises.
    threads : int
        Threads within one operator.
    device : str
        A key of `PROVIDERS`.
    input_name : str
        What the network must call its input.
    heads : mapping of str to int
        Further outputs, and how many classes each has.

    Raises
    ------
    ModelRefused
        Not an ONNX model, or not with this input and output.
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
        # ONNX Runtime's Python class keeps the file's bytes to set the session up anew, which nobody here asks for:
        # with VGG19-BN half a gigabyte in every worker.
        self._session._model_bytes = None
        # A provider that cannot be had (no driver, no memory) is replaced by the processor without a word.
        if (used := self._session.get_providers()[0]) != provider:
            raise DependencyUnavailable(
                f"the network was to run on {provider}, but ONNX Runtime fell back to {used}: "
                "see to the GPU's driver and CUDA libraries, or set CCMUSIC_DEVICE=cpu"
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


def require_interface(
    inputs: list[str], outputs: Mapping[str, int | str | None], input_name: str, widths: Mapping[str, int]
) -> None:
    """Refuse a network without the card's input and outputs.

    Parameters
    ----------
    inputs : list of str
    outputs : mapping of str to int, str or None
        By name, how many numbers each gives; no number where the network leaves it open.
    input_name : str
    widths : mapping of str to int
        What the card promises of the outputs.

    Raises
    ------
    ModelRefused
    """
    missing = [name for name in widths if name not in outputs]
    if inputs != [input_name] or missing:
        raise ModelRefused(
            f"the network has inputs {sorted(inputs)} and outputs {sorted(outputs)}; "
            f"expected the input {input_name!r} and an output {(missing or [OUTPUT_NAME])[0]!r}"
        )
    for name, n_labels in widths.items():
        width = outputs[name]
        if isinstance(width, int) and width != n_labels:
            of = "" if name == OUTPUT_NAME else f" in {name}"
            raise ModelRefused(f"the network has {width} outputs{of} for the card's {n_labels} labels")


def checked(logits: np.ndarray, n_windows: int, n_labels: int) -> np.ndarray:
    """What a network answered, if it is an answer.

    Raises
    ------
    ModelRefused
        It has another shape than (n_windows, n_labels).
    NonFiniteOutput
        It holds NaN or infinity.
    """
    if logits.shape != (n_windows, n_labels):
        raise ModelRefused(f"the network answered with shape {logits.shape} for {n_labels} labels")
    if not np.isfinite(logits).all():
        raise NonFiniteOutput("the network answered NaN or infinity")
    return logits


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
