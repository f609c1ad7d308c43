"""Quantises a float32 network to 8-bit integers, calibrated on real pictures.

Post-training static quantisation with ONNX Runtime's tool (Jacob et al., "Quantization and Training of Neural Networks
for Efficient Integer-Arithmetic-Only Inference", 2018). The scale of each tensor between layers comes from its range
over the pictures. The weights of each output channel have a scale of their own. Pairs of QuantizeLinear and
DequantizeLinear nodes in the file show any runtime which tensors are integers.

The tool normally works through files and temporary directories; here it gets bytes and returns bytes.
``docs/precisions.md`` has the effect of other settings on the answers; ``bench/precisions.py`` measures them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ccmusic.errors import DependencyUnavailable, InvalidParameter, ModelRefused, of_extra

OPERATIONS = ("Conv", "Flatten", "Gemm", "MatMul", "MaxPool", "Relu", "Reshape")
"""Operations that compute with integers or pass them through; all others stay in float32."""
HISTOGRAM_BINS = 4096

Ranges = dict[str, tuple[float, float]]
"""Smallest and largest value by the tensor's name."""


@dataclass(frozen=True, slots=True)
class Quantisation:
    """Settings of the quantisation; the defaults gave the best answers in measurements.

    Attributes
    ----------
    percentile : float or None
        Percentage of a tensor's values that its range includes; the others are clipped. None: all of them.
    per_channel : bool
        One scale for each output channel of the weights instead of one for all.
    signed_activations : bool
        Signed integers with the zero point 0 instead of unsigned ones with a zero point for each tensor.
    reduced_range : bool
        Weights of 7 bits. Processors without VNNI add pairs of products in 16 bits, which saturate with 8-bit weights.
    first_in_float : bool
        Keep the first layers in float32: their rounding errors affect all other layers, and they are small.
    last_in_float : bool
        Keep the layer that gives the logits in float32.
    in_float : tuple of str
        Names of other nodes to keep in float32.
    """

    percentile: float | None = None
    per_channel: bool = True
    signed_activations: bool = False
    reduced_range: bool = False
    first_in_float: bool = True
    last_in_float: bool = True
    in_float: tuple[str, ...] = ()


def quantize(
    model: bytes, pictures: np.ndarray, how: Quantisation | None = None, *, ranges: Ranges | None = None
) -> bytes:
    """Quantise a network to 8-bit integers.

    Parameters
    ----------
    model : bytes
        An ONNX file in float32 with one input.
    pictures : np.ndarray [shape=(n, ...), dtype=float32]
        Inputs made of real recordings of several kinds of music.
    how : Quantisation, optional
    ranges : dict of str to (float, float), optional
        From `activation_ranges`, to quantise one model in several ways without running it again.

    Returns
    -------
    bytes
        An ONNX file with the same input and output, about a quarter of the size. The same model, pictures, processor
        and version of ONNX Runtime give the same bytes.

    Raises
    ------
    DependencyUnavailable
        The package ``onnx`` is not installed.
    InvalidParameter
        There are no pictures.
    ModelRefused
        Not an ONNX model, or it gives NaN or infinity for these pictures.
    """
    _require_onnx()
    # Imported late: they need the package onnx, which serving does not.
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    how = how or Quantisation()
    ranges = ranges or activation_ranges(model, pictures, how.percentile)
    network = _parse(model)
    add_infer_metadata(network)  # otherwise the tool infers the shapes again, through a file
    given, answers = ({tensor.name for tensor in tensors} for tensors in (network.graph.input, network.graph.output))
    nodes = network.graph.node
    first = [node.name for node in nodes if given & set(node.input)] if how.first_in_float else []
    last = [node.name for node in nodes if answers & set(node.output)] if how.last_in_float else []
    quantizer = QDQQuantizer(
        network,
        per_channel=how.per_channel,
        reduce_range=how.reduced_range,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if how.signed_activations else QuantType.QUInt8,
        tensors_range=TensorsData(
            CalibrationMethod.MinMax, {name: tuple(map(np.float32, ends)) for name, ends in ranges.items()}
        ),
        nodes_to_quantize=[],  # all
        nodes_to_exclude=[*first, *last, *how.in_float],
        op_types_to_quantize=list(OPERATIONS),
        extra_options={"ActivationSymmetric": how.signed_activations},
    )
    quantised = quantizer.quantize_model()
    del quantised.graph.value_info[:]
    kept = [entry for entry in quantised.metadata_props if entry.key != "onnx.infer"]
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(kept)
    data: bytes = quantised.SerializeToString(deterministic=True)
    return data


def activation_ranges(model: bytes, pictures: np.ndarray, percentile: float | None = None) -> Ranges:
    """The range, over some pictures, of every tensor that `quantize` turns into integers.

    The pictures are run one at a time, to hold the tensors of one picture only.

    Parameters
    ----------
    model : bytes
        An ONNX file in float32 with one input.
    pictures : np.ndarray [shape=(n, ...), dtype=float32]
    percentile : float, optional
        As in `Quantisation`.

    Raises
    ------
    DependencyUnavailable, InvalidParameter, ModelRefused
        As `quantize`.
    """
    _require_onnx()
    if not len(pictures):
        raise InvalidParameter("pictures", "must hold at least one picture to calibrate on")
    names, session = _open_with_all_tensors(model)
    (given,) = (node.name for node in session.get_inputs())
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for picture in pictures:
        tensors = session.run(names, {given: picture[None]})
        low = np.minimum(low, [tensor.min() for tensor in tensors])  # NaN propagates
        high = np.maximum(high, [tensor.max() for tensor in tensors])
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ModelRefused("the network computes NaN or infinity with real pictures, and cannot be quantised")
    if percentile is None:
        return dict(zip(names, zip(low.tolist(), high.tolist(), strict=True), strict=True))
    counts = np.zeros((len(names), HISTOGRAM_BINS), np.int64)
    for picture in pictures:
        for i, tensor in enumerate(session.run(names, {given: picture[None]})):
            counts[i] += np.histogram(tensor, HISTOGRAM_BINS, (low[i], high[i]))[0]
    clipped = (_percentile_range(*entry, percentile) for entry in zip(counts, low, high, strict=True))
    return dict(zip(names, clipped, strict=True))


def _percentile_range(counts: np.ndarray, low: float, high: float, percentile: float) -> tuple[float, float]:
    """The range that contains this percentage of the values, with equal shares of the others below and above."""
    edges = np.linspace(low, high, len(counts) + 1)
    below = np.cumsum(counts) / counts.sum()
    tail = (100 - percentile) / 200
    first, last = np.searchsorted(below, tail, side="right"), np.searchsorted(below, 1 - tail)
    return float(edges[first]), float(edges[min(int(last) + 1, len(counts))])


def _open_with_all_tensors(model: bytes) -> tuple[list[str], Any]:
    """Names of the tensors between the operations, and a session that outputs all of them."""
    import onnxruntime

    network = _parse(model)
    graph = network.graph
    constants = {initializer.name for initializer in graph.initializer}
    touched = [name for node in graph.node if node.op_type in OPERATIONS for name in (*node.input, *node.output)]
    known = {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}
    names = [name for name in dict.fromkeys(touched) if name and name not in constants]
    answers = {output.name for output in graph.output}
    graph.output.extend(known[name] for name in names if name not in answers)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one order of summation: the same ranges each time
    options.log_severity_level = 3
    # fused operations would not output the tensors between them
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    augmented = network.SerializeToString()
    return names, onnxruntime.InferenceSession(augmented, options, providers=["CPUExecutionProvider"])


def _parse(model: bytes) -> Any:
    import onnx

    try:
        network = onnx.load_model_from_string(model)
        return onnx.shape_inference.infer_shapes(network, strict_mode=True)
    except Exception as error:  # onnx and protobuf have no common exception class
        raise ModelRefused(f"the network to quantise is not an ONNX model: {error}") from error


def _require_onnx() -> None:
    need, instead = "quantising a network needs the package onnx", "run the network in float32"
    with of_extra("import", need, instead, DependencyUnavailable):
        import onnx  # noqa: F401
