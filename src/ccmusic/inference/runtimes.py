"""The one place where it is decided what runs a network: ONNX Runtime on the processor or a GPU, or OpenVINO."""

from __future__ import annotations

from ccmusic.inference.backend import Backend, Execution
from ccmusic.inference.onnx_runtime import OnnxBackend, device_for
from ccmusic.models.card import Card


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
        # OpenVINO is an extra that few install.
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
