"""Replaces the head of an ONNX graph; everything up to the embedding stays unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np

from ccmusic.finetuning.base_model import EMBEDDING

LOGITS = "logits"
WEIGHT, BIAS = "own_head.weight", "own_head.bias"


def with_head(model: bytes, weight: np.ndarray, bias: np.ndarray) -> bytes:
    """Replace everything after the embedding by one linear layer.

    Parameters
    ----------
    model : bytes
        An ONNX file with an output ``embedding`` [shape=(batch, size)].
    weight : np.ndarray [shape=(labels, size)]
    bias : np.ndarray [shape=(labels,)]

    Returns
    -------
    bytes
        An ONNX file with the same input and the outputs ``logits`` [shape=(batch, labels)] and ``embedding``.
    """
    # imported late: an optional package
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    proto = onnx.load_from_string(model)
    graph = proto.graph
    kept = _leading_to(graph, EMBEDDING)
    arrays = {WEIGHT: weight, BIAS: bias}
    used = {name for node in kept for name in node.input}
    initializers = [tensor for tensor in graph.initializer if tensor.name in used and tensor.name not in arrays]
    initializers += [numpy_helper.from_array(np.asarray(a, dtype=np.float32), name) for name, a in arrays.items()]
    embedding = next(output for output in graph.output if output.name == EMBEDDING)
    logits = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["batch", len(bias)])
    head = helper.make_node("Gemm", [EMBEDDING, WEIGHT, BIAS], [LOGITS], name="own_head", transB=1)
    made = helper.make_graph([*kept, head], graph.name, [*graph.input], [logits, embedding], initializers)
    out = helper.make_model(made, opset_imports=[*proto.opset_import], ir_version=proto.ir_version)
    out.functions.extend(proto.functions)
    onnx.checker.check_model(out)
    return bytes(out.SerializeToString(deterministic=True))


def _leading_to(graph: Any, name: str) -> list[Any]:
    """The nodes that a value depends on, in graph order."""
    wanted, kept = {name}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]
