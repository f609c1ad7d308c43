"""A model whose answers can be reckoned by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ccmusic.features import cqt
from ccmusic.genres import LABELS
from ccmusic.inference.backend import OnnxBackend
from ccmusic.models.card import Calibration, Card, GoldenClip, Training
from ccmusic.models.golden import SIGNALS


def band_network(scale: float = 0.1) -> bytes:
    """An ONNX network whose logit i is `scale` times the mean level, in dB, of the CQT bins 5 i to 5 i + 4.

    A pure tone in such a band therefore makes genre i the likeliest.
    """
    weights = np.zeros((84, 16), np.float32)
    for i in range(16):
        weights[5 * i : 5 * i + 5, i] = scale / 5
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["cqt_db", "time_axis"], ["levels"], keepdims=0),
            helper.make_node("MatMul", ["levels", "weights"], ["logits"]),
        ],
        "bands",
        [helper.make_tensor_value_info("cqt_db", TensorProto.FLOAT, ["batch", 84, "frames"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 16])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([2]), "time_axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


def golden_clips(network: bytes) -> tuple[GoldenClip, ...]:
    """What such a network says of the golden signals."""
    backend = OnnxBackend(network, 16)
    return tuple(
        GoldenClip(
            signal=name,
            seconds=2.0,
            logits=tuple(backend.logits(cqt.cqt_db(signal(2.0))[np.newaxis])[0].tolist()),
        )
        for name, signal in SIGNALS.items()
    )


def write_model(directory: Path, network: bytes | None = None, **changes: object) -> Path:
    """Write a model directory around `band_network`; `changes` replace fields of its card."""
    network = band_network() if network is None else network
    directory.mkdir(parents=True, exist_ok=True)
    card = Card(
        name="bands",
        version="0.0.1",
        description="logit i is the level of five bins",
        file="model.onnx",
        sha256=hashlib.sha256(network).hexdigest(),
        labels=LABELS,
        window_seconds=2.0,
        uncertain_below=0.3,
        calibration=(Calibration(window_seconds=1.0, temperature=1.0),),
        golden=changes.pop("golden", None) or golden_clips(network),
        licence="MIT",
        training=Training(data="none", label_source="none", method="by hand"),
        metrics={},
    ).model_copy(update=changes)
    (directory / card.file).write_bytes(network)
    card.save(directory)
    return directory
