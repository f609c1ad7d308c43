"""A small convolutional network over pictures, with answers that differ from picture to picture."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SIDE = 16
N_LABELS = 16


def picture_network(scale: float = 1.0, seed: int = 0, input_name: str = "picture") -> bytes:
    """An ONNX network: two convolutions, maximum pooling, two dense layers; the logits are proportional to `scale`."""
    random = np.random.default_rng(seed)
    shapes = {"w0": (8, 3, 3, 3), "w1": (12, 8, 3, 3), "w2": (24, 12 * 16), "w3": (N_LABELS, 24)}
    weights = {}
    for name, shape in shapes.items():
        weights[name] = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        weights[name.replace("w", "b")] = random.normal(0, 0.1, shape[0])
    weights["w3"] = weights["w3"] * 3 * scale
    weights["b3"] = weights["b3"] * scale
    nodes = [
        helper.make_node("Conv", [input_name, "w0", "b0"], ["c0"], "conv_0", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"], "relu_0"),
        helper.make_node("MaxPool", ["r0"], ["p0"], "pool_0", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p0", "w1", "b1"], ["c1"], "conv_1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu_1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], "pool_1", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p1"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "w2", "b2"], ["g2"], "dense_0", transB=1),
        helper.make_node("Relu", ["g2"], ["r2"], "relu_2"),
        helper.make_node("Gemm", ["r2", "w3", "b3"], ["logits"], "dense_1", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "pictures",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", N_LABELS])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


def pictures(n: int, seed: int = 1) -> np.ndarray:
    """Pictures [shape=(n, 3, 16, 16), dtype=float32] between -1 and 1, each with another gradient and noise."""
    random = np.random.default_rng(seed)
    rows, columns = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE), indexing="ij")
    slopes = random.normal(size=(2, n, 3, 1, 1))
    noise = random.normal(0, 0.3, (n, 3, SIDE, SIDE))
    return np.tanh(slopes[0] * rows + slopes[1] * columns + noise).astype(np.float32)
