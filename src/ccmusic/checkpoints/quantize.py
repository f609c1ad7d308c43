"""A network in float32 made into one of 8-bit integers, by looking at what happens in it with real pictures.

Post-training static quantisation as ONNX Runtime's tool does it (Jacob et al., "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", 2018): each tensor between layers gets a scale from the range
it had over the pictures, each output channel's weights one of their own, and pairs of QuantizeLinear and
DequantizeLinear in the file tell any runtime where integers stand.

The tool's own way through files and temporary directories is not taken: bytes come in and go out.
``docs/precisions.md`` holds what other settings did to the answers, and ``bench/precisions.py`` measures them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ccmusic.errors import DependencyUnavailable, InvalidParameter, ModelRefused

OPERATIONS = ("Conv", "Flatten", "Gemm", "MatMul", "MaxPool", "Relu", "Reshape")
"""What is computed in integers, or passes them on; every other operation stays in float32."""
HISTOGRAM_BINS = 4096

Ranges = dict[str, tuple[float, float]]
"""Smallest and largest value by the tensor's name."""


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How a network is quantised; the defaults are what was measured to be best.

    Attributes
    ----------
    percentile : float or None
        Share of a tensor's values, in percent, within its range; the rest is clipped. None: the range has them all.
    per_channel : bool
        A scale for each output channel of the weights, not one for all.
    signed_activations : bool
        Signed with zero in the middle, instead of unsigned with a zero point of their own.
    reduced_range : bool
        Weights of 7 bits: processors without VNNI add pairs of products in 16 bits, which saturate with 8.
    first_in_float : bool
        The layers that see the input stay in float32: what they round, all others pass on, and they are small.
    last_in_float : bool
        So does the layer that gives the logits.
    in_float : tuple of str
        Names of nodes that stay as well.
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
    """Make a network of 8-bit integers.

    Parameters
    ----------
    model : bytes
        An ONNX file in float32 with one input.
    pictures : np.ndarray [shape=(n, ...), dtype=float32]
        Of real recordings, of several kinds of music: what the network will be shown.
    how : Quantisation, optional
    ranges : dict of str to (float, float), optional
        From `activation_ranges` with the same `how`, where one model is quantised in several ways.

    Returns
    -------
    bytes
        An ONNX file with the same input and output, about a quarter the size. The same model, pictures, processor and
        version of ONNX Runtime give the same bytes.

    Raises
    ------
    DependencyUnavailable
        The package ``onnx`` is not installed.
    InvalidParameter
        There are no pictures.
    ModelRefused
        Not an ONNX model, or its answers to these pictures are not numbers.
    """
    _require_onnx()
    # Here and not above: they need the package onnx, which serving does without.
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    how = how or Quantisation()
    ranges = ranges or activation_ranges(model, pictures, how.percentile)
    network = _parse(model)
    add_infer_metadata(network)  # or the tool infers the shapes once more, through a file
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
    """The range of every tensor that `quantize` makes integers of, over some pictures.

    One picture at a time is run, so that only its own tensors are ever held.

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
    names, session = _opened(model)
    (given,) = (node.name for node in session.get_inputs())
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for picture in pictures:
        tensors = session.run(names, {given: picture[None]})
        low = np.minimum(low, [tensor.min() for tensor in tensors])  # NaN stays
        high = np.maximum(high, [tensor.max() for tensor in tensors])
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ModelRefused("the network computes NaN or infinity with real pictures, and cannot be quantised")
    if percentile is None:
        return dict(zip(names, zip(low.tolist(), high.tolist(), strict=True), strict=True))
    counts = np.zeros((len(names), HISTOGRAM_BINS), np.int64)
    for picture in pictures:
        for i, tensor in enumerate(session.run(names, {given: picture[None]})):
            counts[i] += np.histogram(tensor, HISTOGRAM_BINS, (low[i], high[i]))[0]
    clipped = (_clipped(*entry, percentile) for entry in zip(counts, low, high, strict=True))
    return dict(zip(names, clipped, strict=True))


def _clipped(counts: np.ndarray, low: float, high: float, percentile: float) -> tuple[float, float]:
    """The range within which so many percent of the values lie, half of the others on either side."""
    edges = np.linspace(low, high, len(counts) + 1)
    below = np.cumsum(counts) / counts.sum()
    tail = (100 - percentile) / 200
    first, last = np.searchsorted(below, tail, side="right"), np.searchsorted(below, 1 - tail)
    return float(edges[first]), float(edges[min(int(last) + 1, len(counts))])


def _opened(model: bytes) -> tuple[list[str], Any]:
    """Names of the tensors between the operations, and a session that gives all of them."""
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
    options.intra_op_num_threads = 1  # sums in one order: the same ranges each time
    options.log_severity_level = 3
    # fused operations would not give the tensors between them
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    augmented = network.SerializeToString()
    return names, onnxruntime.InferenceSession(augmented, options, providers=["CPUExecutionProvider"])


def _parse(model: bytes) -> Any:
    import onnx

    try:
        network = onnx.load_model_from_string(model)
        return onnx.shape_inference.infer_shapes(network, strict_mode=True)
    except Exception as error:  # onnx and the library that it reads with have no class in common
        raise ModelRefused(f"the network to quantise is not an ONNX model: {error}") from error


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise DependencyUnavailable(
            f"quantising a network needs the package onnx, which cannot be imported ({error}): "
            "install the extra with pip install 'ccmusic[import]', or run the network in float32"
        ) from error
