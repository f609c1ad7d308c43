"""Joins all networks and their heads to one ONNX graph, in which the length of the window selects the networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, compose, helper, numpy_helper

from ccmusic.errors import ModelRefused
from ccmusic.training.export import TOLERANCE
from ccmusic.training.linear_layers import Layer
from ccmusic.training.network import EMBEDDING_SIZE

SHORT_FRAMES = 65
"""Frames of 1.5 s. The short networks answer for windows of at most this length. For longer ones the others are better,
which were trained on crops of 2 s and more (docs/experiments.md)."""


@dataclass(frozen=True)
class NetworkGroup:
    """Networks whose embeddings, side by side, are the input of common heads.

    Attributes
    ----------
    networks : sequence of Path
        ONNX files as `ccmusic.training.export.export_onnx` writes them; their own heads are left out.
    layers : mapping of str to tuple of np.ndarray
        Heads by output of the graph: weight [shape=(n, networks * EMBEDDING_SIZE)] and bias [shape=(n,)].
    """

    networks: Sequence[Path]
    layers: Mapping[str, Layer]


def join_networks(recordings: NetworkGroup, short: NetworkGroup, path: Path) -> None:
    """Write one graph of two groups of networks over one input, and check it against its parts.

    Parameters
    ----------
    recordings, short : NetworkGroup
        For windows longer than `SHORT_FRAMES`, and for the others. Both have layers for the same outputs.
    path : Path
        The file to write. Its input is ``cqt_db`` [batch, 84, frames]. It has an output for each layer, and
        ``embedding``: for windows of every length, the embeddings of the networks for recordings side by side.

    Raises
    ------
    ModelRefused
        The graph and its parts differ by more than `ccmusic.training.export.TOLERANCE`.
    """
    nodes = [
        # the short networks see the beginning of a longer window: this costs little, and the result is not used
        helper.make_node("Slice", ["cqt_db", "first_frame", "short_frames", "time_axis"], ["short_db"]),
        helper.make_node("Shape", ["cqt_db"], ["frames"], start=2, end=3),
        helper.make_node("LessOrEqual", ["frames", "short_frames"], ["is_short"]),
    ]
    constants = {
        "first_frame": np.array([0], dtype=np.int64),
        "short_frames": np.array([SHORT_FRAMES], dtype=np.int64),
        "time_axis": np.array([2], dtype=np.int64),
    }
    tensors = []
    for group, name, source, embedding in (
        (recordings, "recordings", "cqt_db", "embedding"),
        (short, "short", "short_db", "short_embedding"),
    ):
        outputs = []
        for index, file in enumerate(group.networks):
            model = onnx.load(file)
            _remove_head(model)
            part = compose.add_prefix(model, f"{name}{index}/").graph
            nodes.append(helper.make_node("Identity", [source], [f"{name}{index}/cqt_db"]))
            nodes.extend(part.node)
            tensors.extend(part.initializer)
            outputs.append(f"{name}{index}/embedding")
        nodes.append(helper.make_node("Concat", outputs, [embedding], axis=1))
        for output, (weight, bias) in group.layers.items():
            inputs = [f"{name}_{output}_weight", f"{name}_{output}_bias"]
            constants |= dict(zip(inputs, (weight.astype(np.float32), bias.astype(np.float32)), strict=True))
            nodes.append(helper.make_node("Gemm", [embedding, *inputs], [f"{name}_{output}"], transB=1))
    nodes += [
        helper.make_node("Where", ["is_short", f"short_{output}", f"recordings_{output}"], [output])
        for output in recordings.layers
    ]
    sizes = {output: len(bias) for output, (_, bias) in recordings.layers.items()}
    sizes["embedding"] = EMBEDDING_SIZE * len(recordings.networks)
    graph = helper.make_graph(
        nodes,
        "ccmusic",
        [helper.make_tensor_value_info("cqt_db", TensorProto.FLOAT, ["batch", 84, "frames"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in sizes.items()],
        [*(numpy_helper.from_array(value, name) for name, value in constants.items()), *tensors],
    )
    joined = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(joined, full_check=True)
    onnx.save(joined, path)
    worst = largest_difference(recordings, short, path)
    if worst > TOLERANCE:
        raise ModelRefused(f"the joined network and its parts differ by {worst:.2g}, more than {TOLERANCE}")


def largest_difference(recordings: NetworkGroup, short: NetworkGroup, path: Path) -> float:
    """Largest difference between a joined graph and its parts, over all outputs of windows of several lengths."""
    generator, worst = np.random.default_rng(0), 0.0
    joined = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for frames in (13, SHORT_FRAMES, SHORT_FRAMES + 1, 431):
        picture = generator.uniform(-80, 0, size=(2, 84, frames)).astype(np.float32)
        expected = {"embedding": _embedded(recordings, picture)}
        group = short if frames <= SHORT_FRAMES else recordings
        embedding = _embedded(group, picture)
        expected |= {output: embedding @ weight.T + bias for output, (weight, bias) in group.layers.items()}
        given = joined.run(list(expected), {"cqt_db": picture})
        worst = max(worst, *(float(np.abs(e - g).max()) for e, g in zip(expected.values(), given, strict=True)))
    return worst


def _embedded(group: NetworkGroup, picture: np.ndarray) -> np.ndarray:
    parts = []
    for file in group.networks:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        parts.append(session.run(["embedding"], {"cqt_db": picture})[0])
    return np.concatenate(parts, axis=1)


def _remove_head(model: onnx.ModelProto) -> None:
    """Remove the output for the logits and what only it needs."""
    graph = model.graph
    kept = [value for value in graph.output if value.name != "logits"]
    nodes = [node for node in graph.node if "logits" not in node.output]
    needed = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, values in ((graph.output, kept), (graph.node, nodes), (graph.initializer, tensors)):
        del field[:]
        field.extend(values)
