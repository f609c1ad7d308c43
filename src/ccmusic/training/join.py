"""One ONNX graph of three networks: the first for recordings, one for very short ones, one for the world genres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from ccmusic.errors import ModelRefused

SHORT_FRAMES = 44
"""Frames of 1 s: windows of so many or fewer are answered by the short network."""


def join(recordings: Path, short: Path, world: Path, world_layer: tuple[np.ndarray, np.ndarray], path: Path) -> None:
    """Join three networks over one input.

    Parameters
    ----------
    recordings, short, world : Path
        ONNX files as `ccmusic.training.export.export_onnx` writes them.
    world_layer : tuple of np.ndarray
        Weight [shape=(16, 768)] on the embeddings of `world` and `short` side by side, and bias [shape=(16,)].
    path : Path
        The file to write: input ``cqt_db`` [batch, 84, frames]; outputs ``logits`` (of `short` up to `SHORT_FRAMES`
        frames, else of `recordings`), ``embedding`` (of `recordings`) and ``world_logits``.

    Raises
    ------
    ModelRefused
        `recordings` holds a joined model already.
    """
    parts = {name: onnx.load(file) for name, file in (("long", recordings), ("short", short), ("world", world))}
    if "world_logits" in {value.name for value in parts["long"].graph.output}:
        raise ModelRefused("the first network is a joined one already; name the directory of the plain network")
    _remove_head(parts["world"])
    graphs = {name: compose.add_prefix(model, f"{name}/").graph for name, model in parts.items()}
    nodes = [
        *(helper.make_node("Identity", ["cqt_db"], [f"{name}/cqt_db"]) for name in graphs),
        *(node for graph in graphs.values() for node in graph.node),
        helper.make_node("Shape", ["cqt_db"], ["frames"], start=2, end=3),
        helper.make_node("LessOrEqual", ["frames", "short_frames"], ["is_short"]),
        helper.make_node("Where", ["is_short", "short/logits", "long/logits"], ["logits"]),
        helper.make_node("Identity", ["long/embedding"], ["embedding"]),
        helper.make_node("Concat", ["world/embedding", "short/embedding"], ["world_embedding"], axis=1),
        helper.make_node("Gemm", ["world_embedding", "world_weight", "world_bias"], ["world_logits"], transB=1),
    ]
    constants = {
        "short_frames": np.array([SHORT_FRAMES], dtype=np.int64),
        "world_weight": world_layer[0].astype(np.float32),
        "world_bias": world_layer[1].astype(np.float32),
    }
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in (("logits", 16), ("embedding", 384), ("world_logits", 16))
    ]
    graph = helper.make_graph(
        nodes,
        "ccmusic",
        [helper.make_tensor_value_info("cqt_db", TensorProto.FLOAT, ["batch", 84, "frames"])],
        outputs,
        [*initializers, *(tensor for part in graphs.values() for tensor in part.initializer)],
    )
    model = helper.make_model(graph, opset_imports=parts["long"].opset_import, ir_version=parts["long"].ir_version)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _remove_head(model: onnx.ModelProto) -> None:
    """Keep the embedding only."""
    graph = model.graph
    kept = [value for value in graph.output if value.name != "logits"]
    nodes = [node for node in graph.node if "logits" not in node.output]
    needed = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, values in ((graph.output, kept), (graph.node, nodes), (graph.initializer, tensors)):
        del field[:]
        field.extend(values)
