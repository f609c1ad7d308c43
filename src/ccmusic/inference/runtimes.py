"""The only place that chooses a backend: ONNX Runtime on the CPU or a GPU, or OpenVINO on the CPU."""

from __future__ import annotations

from ccmusic.errors import ModelRefused
from ccmusic.inference.backend import Backend, Execution
from ccmusic.inference.external_data import has_external_data
from ccmusic.inference.onnx_runtime import OnnxBackend, device_for
from ccmusic.models.card import Card


def open_backend(model: bytes, card: Card, execution: Execution) -> Backend:
    """Load a network into the runtime that its card names.

    Parameters
    ----------
    model : bytes
        An ONNX file. Bytes instead of a path, so that exactly the hashed bytes run.
    card : Card
        Names the runtime, the precision, the network's input and its outputs.
    execution : Execution

    Returns
    -------
    Backend

    Raises
    ------
    ModelRefused
        Not an ONNX model, without the card's input and outputs, or with weights in other files.
    DependencyUnavailable
        The runtime or the requested GPU is not available.
    """
    if has_external_data(model):
        raise ModelRefused(
            "the network's weights are in another file, which the card's hash does not cover: "
            "save them in the ONNX file itself (external_data=False)"
        )
    heads = {head.output: len(head.labels) for head in card.heads}
    if card.runtime == "openvino":
        # imported late: an optional extra
        from ccmusic.inference.openvino import OpenVinoBackend

        return OpenVinoBackend(model, len(card.labels), execution.threads, card.precision, card.input_name, heads)
    return OnnxBackend(
        model,
        len(card.labels),
        execution.threads,
        device_for(execution.device),
        input_name=card.input_name,
        heads=heads,
    )
