"""The operations as nodes of an ONNX graph, with the ``onnx`` package alone: no torch, no exporter.

Computations that do not depend on the picture are done here: batch normalisation is folded into the convolution before
it (in float64), layer scales into the linear layer before them, position biases and window masks into one constant.
Equal weights give equal bytes; the file contains no machine name and no time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ccmusic.checkpoints.architectures.ops import Array, BatchNorm, Convolution, Ops

OPSET = 20
IR_VERSION = 9
INPUT_NAME = "picture"
OUTPUT_NAME = "logits"
PICTURE_SHAPE = (3, 224, 224)


@dataclass(frozen=True, slots=True)
class Value:
    """A value in the graph: its name and its number of axes."""

    name: str
    rank: int


class OnnxOps(Ops[Value]):
    """Collects nodes and constants; `build` returns the file."""

    def __init__(self, state: Mapping[str, Array]) -> None:
        super().__init__(state)
        self.picture = Value(INPUT_NAME, 4)
        self._model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="ccmusic")
        self._model.opset_import.append(helper.make_opsetid("", OPSET))
        # filled in place, because helper.make_graph and make_model would copy all weights
        self._graph = self._model.graph
        self._integers: dict[bytes, str] = {}

    def build(self, logits: Value, n_labels: int, name: str) -> bytes:
        """The ONNX file whose output is this value.

        Parameters
        ----------
        logits : Value [shape=(batch, n_labels)]
        n_labels : int
        name : str
            Name of the graph.

        Returns
        -------
        bytes
            Input ``picture`` [shape=(batch, 3, 224, 224), dtype=float32], output ``logits`` [shape=(batch, n_labels)].
        """
        (last,) = (node for node in self._graph.node if node.name == logits.name)
        last.output[0] = OUTPUT_NAME
        self._graph.name = name
        for values, key, sizes in (
            (self._graph.input, INPUT_NAME, PICTURE_SHAPE),
            (self._graph.output, OUTPUT_NAME, (n_labels,)),
        ):
            values.append(helper.make_tensor_value_info(key, TensorProto.FLOAT, ["batch", *sizes]))
        return bytes(self._model.SerializeToString(deterministic=True))

    def _node(self, operator: str, inputs: Sequence[str], rank: int, **attributes: Any) -> Value:
        name = f"{operator}_{len(self._graph.node)}"
        self._graph.node.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return Value(name, rank)

    def _constant(self, array: Array) -> str:
        """The name of a constant. Equal integer arrays (axes and orders, which repeat) are stored once."""
        key = repr(array.shape).encode() + array.tobytes() if array.dtype == np.int64 else b""
        if key and key in self._integers:
            return self._integers[key]
        name = f"constant_{len(self._graph.initializer)}"
        self._graph.initializer.add(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape,
            raw_data=array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(),
        )
        if key:
            self._integers[key] = name
        return name

    def _conv(self, x: Value, convolution: Convolution) -> Value:
        arrays = [convolution.weight] + ([] if convolution.bias is None else [convolution.bias])
        return self._node(
            "Conv",
            [x.name, *map(self._constant, arrays)],
            4,
            kernel_shape=convolution.weight.shape[2:],
            strides=[convolution.stride] * 2,
            pads=[*convolution.padding] * 2,
            group=convolution.groups,
        )

    def _conv_norm(self, x: Value, convolution: Convolution, norm: BatchNorm) -> Value:
        scale = norm.weight / np.sqrt(norm.variance.astype(np.float64) + norm.epsilon)
        bias = 0.0 if convolution.bias is None else convolution.bias
        folded = Convolution(
            (convolution.weight * scale[:, None, None, None]).astype(np.float32),
            ((bias - norm.mean) * scale + norm.bias).astype(np.float32),
            convolution.stride,
            convolution.padding,
            convolution.groups,
        )
        return self._conv(x, folded)

    def _batch_norm(self, x: Value, norm: BatchNorm) -> Value:
        raise NotImplementedError("batch normalisation is folded into the convolution before it")

    def _linear(self, x: Value, weight: Array, bias: Array | None) -> Value:
        if x.rank == 2 and bias is not None:
            return self._node("Gemm", [x.name, self._constant(weight), self._constant(bias)], 2, transB=1)
        product = self._node("MatMul", [x.name, self._constant(weight.T)], x.rank)
        return product if bias is None else self.add_constant(product, bias)

    def _layer_norm(self, x: Value, weight: Array, bias: Array, epsilon: float) -> Value:
        inputs = [x.name, self._constant(weight), self._constant(bias)]
        return self._node("LayerNormalization", inputs, x.rank, axis=-1, epsilon=epsilon)

    def _matmul(self, x: Value, y: Value) -> Value:
        return self._node("MatMul", [x.name, y.name], x.rank)

    def _softmax(self, x: Value) -> Value:
        return self._node("Softmax", [x.name], x.rank, axis=-1)

    def relu(self, x: Value) -> Value:
        return self._node("Relu", [x.name], x.rank)

    def gelu(self, x: Value) -> Value:
        return self._node("Gelu", [x.name], x.rank)

    def add(self, x: Value, y: Value) -> Value:
        return self._node("Add", [x.name, y.name], x.rank)

    def add_constant(self, x: Value, constant: Array) -> Value:
        return self._node("Add", [x.name, self._constant(constant)], x.rank)

    def max_pool(self, x: Value, kernel: int, stride: int) -> Value:
        return self._node("MaxPool", [x.name], 4, kernel_shape=[kernel] * 2, strides=[stride] * 2)

    def average_pool(self, x: Value, kernel: int) -> Value:
        pads = [kernel // 2] * 4
        return self._node("AveragePool", [x.name], 4, kernel_shape=[kernel] * 2, pads=pads, count_include_pad=1)

    def mean(self, x: Value, axes: tuple[int, ...]) -> Value:
        return self._node("ReduceMean", [x.name, self._constant(np.array(axes))], x.rank - len(axes), keepdims=0)

    def concatenate(self, parts: Sequence[Value]) -> Value:
        return self._node("Concat", [part.name for part in parts], 4, axis=1)

    def embed(self, x: Value, token: Array, positions: Array) -> Value:
        # the batch size is unknown, so a constant row cannot be repeated: pad a row of zeros and add the constant
        padded = self._node("Pad", [x.name, self._constant(np.array([0, 1, 0, 0, 0, 0]))], 3)
        return self.add_constant(padded, np.concatenate([positions[:1] + token, positions[1:]]))

    def first(self, x: Value) -> Value:
        return self._node("Gather", [x.name, self._constant(np.array(0))], 2, axis=1)

    def rearrange(self, x: Value, order: np.ndarray) -> Value:
        return self._node("Gather", [x.name, self._constant(order)], x.rank, axis=1)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        return self._node("Reshape", [x.name, self._constant(np.array([0, *shape]))], 1 + len(shape))  # 0: unchanged

    def transpose(self, x: Value, axes: Sequence[int]) -> Value:
        return self._node("Transpose", [x.name], x.rank, perm=list(axes))
