"""A model whose answers follow from a simple formula."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ccmusic.features import cqt
from ccmusic.genres import LABELS, WORLD
from ccmusic.inference.onnx_runtime import OnnxBackend
from ccmusic.models.card import Card
from ccmusic.models.card_parts import Calibration, GoldenClip, Head, Training
from ccmusic.models.golden import SIGNALS
from ccmusic.models.non_music_limits import OUT_OF_REACH, NonMusicLimits


def band_network(
    scale: float = 0.1, n_labels: int = 16, world_scale: float | None = None, bias: np.ndarray | None = None
) -> bytes:
    """An ONNX network whose logit i is `scale` times the mean level, in dB, of the CQT bins 5 i to 5 i + 4.

    So a pure tone in band i makes genre i the likeliest. With `world_scale` there is a second output, ``world_logits``,
    with the bands in reverse order: a tone in band i makes its genre 15 - i the likeliest. `bias` [shape=(n_labels,)]
    is added to the logits of the first output.
    """
    bias = np.zeros(n_labels) if bias is None else bias
    outputs = {"logits": _bands(scale, range(n_labels))}
    if world_scale is not None:
        outputs["world_logits"] = _bands(world_scale, range(15, -1, -1))
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["cqt_db", "time_axis"], ["levels"], keepdims=0),
            helper.make_node("MatMul", ["levels", "weights_of_logits"], ["products"]),
            helper.make_node("Add", ["products", "bias"], ["logits"]),
            *(helper.make_node("MatMul", ["levels", f"weights_of_{name}"], [name]) for name in [*outputs][1:]),
        ],
        "bands",
        [helper.make_tensor_value_info("cqt_db", TensorProto.FLOAT, ["batch", 84, "frames"])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", weights.shape[1]])
            for name, weights in outputs.items()
        ],
        [
            *(numpy_helper.from_array(weights, f"weights_of_{name}") for name, weights in outputs.items()),
            numpy_helper.from_array(bias.astype(np.float32), "bias"),
            numpy_helper.from_array(np.array([2]), "time_axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


def _bands(scale: float, bands: range) -> np.ndarray:
    weights = np.zeros((84, len(bands)), np.float32)
    for i, band in enumerate(bands):
        weights[5 * band : 5 * band + 5, i] = scale / 5
    return weights


def golden_clips(network: bytes, n_labels: int = 16, heads: tuple[Head, ...] = ()) -> tuple[GoldenClip, ...]:
    """The golden clips of such a network."""
    backend = OnnxBackend(network, n_labels, heads={head.output: len(head.labels) for head in heads})
    clips = []
    for name, signal in SIGNALS.items():
        first, *others = (answer[0].tolist() for answer in backend.all_logits(cqt.cqt_db(signal(2.0))[np.newaxis]))
        answers = {head.taxonomy: tuple(logits) for head, logits in zip(heads, others, strict=True)}
        clips.append(GoldenClip(signal=name, seconds=2.0, logits=tuple(first), heads=answers))
    return tuple(clips)


def world_head(**changes: object) -> Head:
    """The card's record of ``world_logits``."""
    fields = {
        "labels": WORLD.labels,
        "calibration": (Calibration(seconds=1.0, temperature=1.0),),
        "uncertain_below": 0.3,
        "notes": ("Disco and Reggae have no training data: they are bands of a test model.",),
    }
    return Head(**fields | changes)


NOTHING_IS_ODD = NonMusicLimits().without(*OUT_OF_REACH)
"""No input counts as non-music; for tests that use tones as music."""


def write_world_model(directory: Path, **changes: object) -> Path:
    """A model directory around a `band_network` with both outputs."""
    return write_model(directory, band_network(world_scale=0.1), heads=(world_head(),), **changes)


def write_own_model(directory: Path, labels: tuple[str, ...] = ("low", "middle", "high"), **changes: object) -> Path:
    """A model directory around a `band_network` with labels of its own."""
    return write_model(directory, band_network(n_labels=len(labels)), labels=labels, taxonomy="own", **changes)


def write_model(directory: Path, network: bytes | None = None, **changes: object) -> Path:
    """Write a model directory around `band_network`; `changes` replace fields of its card."""
    network = band_network() if network is None else network
    directory.mkdir(parents=True, exist_ok=True)
    if "golden" not in changes:
        n_labels = len(changes["labels"]) if changes.get("taxonomy") == "own" else len(LABELS)
        changes["golden"] = golden_clips(network, n_labels, changes.get("heads", ()))
    card = Card(
        name="bands",
        version="0.0.1",
        description="logit i is the level of five bins",
        file="model.onnx",
        sha256=hashlib.sha256(network).hexdigest(),
        labels=LABELS,
        window_seconds=2.0,
        uncertain_below=0.3,
        calibration=(Calibration(seconds=1.0, temperature=1.0),),
        golden=(GoldenClip(signal="beat", seconds=2.0, logits=(0.0,) * len(LABELS)),),
        licence="MIT",
        training=Training(data="none", label_source="none", method="computed"),
        metrics={},
    ).model_copy(update=changes)
    (directory / card.file).write_bytes(network)
    card.save(directory)
    return directory
