"""An ONNX graph as a torch module; its tuned weights are written back into the same graph.

Any network that the service runs can be tuned this way if its operators are in `OPERATORS`. The graph stays the same;
only its weights change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

from ccmusic.errors import InvalidParameter, ModelRefused
from ccmusic.finetuning.base_model import EMBEDDING
from ccmusic.finetuning.graph import BIAS, LOGITS, WEIGHT
from ccmusic.inference.onnx_runtime import OnnxBackend

DROPOUT = 0.2
"""Share of the embedding's elements that are dropped while training."""
TOLERANCE = 1e-3
"""Largest allowed difference of a logit between torch and ONNX Runtime."""

Attributes = dict[str, Any]
Operator = Callable[..., torch.Tensor]


def _equal_pads(attributes: Attributes, weight: torch.Tensor) -> list[int]:
    dims = weight.dim() - 2
    pads = list(attributes.get("pads", [0] * 2 * dims))
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or pads[:dims] != pads[dims:] or dims not in (1, 2):
        raise ModelRefused("a convolution that is not of one or two dimensions with equal pads on both sides")
    return pads[:dims]


def _conv(attributes: Attributes, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
    pads = _equal_pads(attributes, weight)
    convolve = functional.conv1d if len(pads) == 1 else functional.conv2d
    stride, dilation = (attributes.get(name, [1] * len(pads)) for name in ("strides", "dilations"))
    return convolve(x, weight, bias, stride, pads, dilation, attributes.get("group", 1))


def _conv_transpose(
    attributes: Attributes, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> Any:
    pads = _equal_pads(attributes, weight)
    convolve = functional.conv_transpose1d if len(pads) == 1 else functional.conv_transpose2d
    stride, dilation = (attributes.get(name, [1] * len(pads)) for name in ("strides", "dilations"))
    extra = attributes.get("output_padding", [0] * len(pads))
    return convolve(x, weight, bias, stride, pads, extra, attributes.get("group", 1), dilation)


def _pad(attributes: Attributes, x: torch.Tensor, pads: torch.Tensor, *_: torch.Tensor | None) -> Any:
    before, after = pads[: x.dim()].tolist(), pads[x.dim() :].tolist()
    if attributes.get("mode") != b"edge" or any(before[:-1]) or any(after[:-1]):
        raise ModelRefused("padding other than with the last axis's edges")
    return functional.pad(x, (before[-1], after[-1]), mode="replicate")


def _gemm(attributes: Attributes, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | None = None) -> Any:
    a, b = (x.T if attributes.get(f"trans{side}") else x for side, x in (("A", a), ("B", b)))
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + attributes.get("beta", 1.0) * c


def _normalisation(attributes: Attributes, x: torch.Tensor, *numbers: torch.Tensor) -> Any:
    # the base model's statistics are kept: a few recordings cannot give better ones
    scale, bias, mean, variance = numbers
    return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, attributes.get("epsilon", 1e-5))


def _reduce_mean(attributes: Attributes, x: torch.Tensor, axes: torch.Tensor | None = None) -> Any:
    dims = attributes.get("axes") if axes is None else axes.tolist()
    return x.mean(dim=dims, keepdim=bool(attributes.get("keepdims", 1)))


def _unsqueeze(attributes: Attributes, x: torch.Tensor, axes: torch.Tensor) -> Any:
    rank = x.dim() + len(axes)
    for axis in sorted(int(axis) % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _softmax(attributes: Attributes, x: torch.Tensor) -> Any:
    return x.softmax(attributes.get("axis", -1))


OPERATORS: dict[str, Operator] = {
    "Add": lambda _, a, b: a + b,
    "BatchNormalization": _normalisation,
    "Concat": lambda attributes, *parts: torch.cat(parts, dim=attributes["axis"]),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": lambda _, a, b: a / b,
    "Flatten": lambda attributes, x: x.flatten(attributes.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, x: x.mean(dim=(2, 3), keepdim=True),
    "HardSigmoid": lambda a, x: (a.get("alpha", 0.2) * x + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda _, x: functional.hardswish(x),
    "Identity": lambda _, x: x,
    "MatMul": lambda _, a, b: a @ b,
    "Mul": lambda _, a, b: a * b,
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "Relu": lambda _, x: x.relu(),
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Softmax": _softmax,
    "Sub": lambda _, a, b: a - b,
    "Tanh": lambda _, x: x.tanh(),
    "Unsqueeze": _unsqueeze,
}
"""The function of each node type, called with the node's attributes and inputs."""

TRAINED: dict[str, tuple[int, ...]] = {"Conv": (1, 2), "Gemm": (1, 2), "MatMul": (1,), "BatchNormalization": (1, 2)}
"""Which inputs of each node type are weights."""


class TrainableGraph(nn.Module):  # type: ignore[misc]
    """A network read from an ONNX file.

    Parameters
    ----------
    model : bytes
        An ONNX file with one input and the outputs ``logits`` and ``embedding``.

    Raises
    ------
    InvalidParameter
        It has unsupported operators; the text names them.
    """

    def __init__(self, model: bytes) -> None:
        super().__init__()
        self._proto = onnx.load_from_string(model)
        graph = self._proto.graph
        if unknown := sorted({node.op_type for node in graph.node} - set(OPERATORS)):
            raise InvalidParameter("--tune", f"all cannot change a network with {', '.join(unknown)}: use --tune head")
        self._nodes = [
            (
                node.op_type,
                {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute},
                list(node.input),
                node.output[0],
            )
            for node in graph.node
        ]
        trained: set[str] = set()
        for kind, _, inputs, _ in self._nodes:
            trained.update(inputs[place] for place in TRAINED.get(kind, ()) if place < len(inputs))
        self._places: dict[str, str] = {}
        for index, tensor in enumerate(graph.initializer):
            value = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
            place = self._places[tensor.name] = f"value_{index}"
            if tensor.name in trained and value.is_floating_point():
                self.register_parameter(place, nn.Parameter(value))
            else:
                self.register_buffer(place, value)

    def forward(self, cqt_db: torch.Tensor) -> torch.Tensor:
        """Logits [batch, labels] of spectrograms [batch, 84, frames] in dB."""
        values = {name: getattr(self, place) for name, place in self._places.items()}
        values[self._proto.graph.input[0].name] = cqt_db
        for kind, attributes, inputs, output in self._nodes:
            values[output] = OPERATORS[kind](attributes, *(values[name] if name else None for name in inputs))
            if output == EMBEDDING:
                values[output] = functional.dropout(values[output], DROPOUT, self.training)
        return values[LOGITS]

    def head(self) -> list[nn.Parameter]:
        """Weight and bias of the layer on the embedding."""
        return [getattr(self, self._places[name]) for name in (WEIGHT, BIAS)]

    def trunk(self) -> list[nn.Parameter]:
        """All other weights."""
        heads = {id(parameter) for parameter in self.head()}
        return [parameter for parameter in self.parameters() if id(parameter) not in heads]

    def answer(self, cqt_db: np.ndarray) -> np.ndarray:
        """`forward` on arrays, in evaluation mode."""
        was_training = self.training
        self.eval()
        with torch.inference_mode():
            device = next(self.parameters()).device
            logits = self(torch.from_numpy(np.ascontiguousarray(cqt_db, dtype=np.float32)).to(device))
        self.train(was_training)
        return np.asarray(logits.cpu())

    def model(self) -> bytes:
        """The graph with the current weights, as an ONNX file.

        Raises
        ------
        ModelRefused
            ONNX Runtime and torch disagree.
        """
        for tensor in self._proto.graph.initializer:
            value = getattr(self, self._places[tensor.name])
            if isinstance(value, nn.Parameter):
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value.detach().cpu()), tensor.name))
        model = bytes(self._proto.SerializeToString(deterministic=True))
        if (worst := self._largest_difference(model)) > TOLERANCE:
            raise ModelRefused(f"ONNX Runtime and torch differ by {worst:.2g}, more than {TOLERANCE}")
        return model

    def _largest_difference(self, model: bytes) -> float:
        backend = OnnxBackend(model, len(self.head()[1]), input_name=self._proto.graph.input[0].name)
        generator = np.random.default_rng(0)
        worst = 0.0
        for batch, frames in ((1, 13), (3, 44), (2, 431)):
            pictures = generator.uniform(-80, 0, size=(batch, 84, frames)).astype(np.float32)
            worst = max(worst, float(np.abs(backend.logits(pictures) - self.answer(pictures)).max()))
        return worst
