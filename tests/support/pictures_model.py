"""Models over drawn windows and over mel spectrograms, whose answers follow from a simple formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ccmusic.audio.decode import decode
from ccmusic.inference.front_end import FrontEnd
from ccmusic.inference.onnx_runtime import OnnxBackend
from ccmusic.models.card import Card, read_card
from ccmusic.models.card_parts import Calibration, Drawing, Features, GoldenClip
from ccmusic.models.golden import SIGNALS, recording
from support.bands_model import write_model

N_ROWS = 224 // 16


def stripe_network() -> bytes:
    """An ONNX network whose logit i is 4 times the mean brightness of the i-th stripe from the bottom, of 14 rows."""
    weights = np.zeros((224, 16), np.float32)
    for i in range(16):
        weights[224 - N_ROWS * (i + 1) : 224 - N_ROWS * i, i] = 4.0 / N_ROWS
    return _network("picture", ["batch", 3, 224, 224], [1, 3], weights)


def mel_network() -> bytes:
    """An ONNX network whose logit i is the mean level of mel bands 8 i to 8 i + 7 in tenths of a decibel."""
    weights = np.zeros((128, 16), np.float32)
    for i in range(16):
        weights[8 * i : 8 * i + 8, i] = 0.1 / 8
    return _network("mel_db", ["batch", 128, "frames"], [2], weights)


def _network(name: str, shape: list[object], axes: list[int], weights: np.ndarray) -> bytes:
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", [name, "axes"], ["rows"], keepdims=0),
            helper.make_node("MatMul", ["rows", "weights"], ["logits"]),
        ],
        "stripes",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 16])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array(axes), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


def write_picture_model(directory: Path, features: Features | None = None) -> Path:
    """A model directory around `stripe_network`, with upstream's windows."""
    return _write(directory, stripe_network(), features or Features(kind="cqt_db"), Drawing())


def write_mel_model(directory: Path) -> Path:
    """A model directory around `mel_network`."""
    return _write(directory, mel_network(), Features(kind="mel_db"), None)


def _write(directory: Path, network: bytes, features: Features, drawing: Drawing | None) -> Path:
    changes = {
        "features": features,
        "drawing": drawing,
        "placing": "upstream",
        "window_seconds": 11.4,
        "calibration": (Calibration(seconds=11.4, temperature=1.0),),
    }
    card = read_card(write_model(directory, golden=(_golden(None, 1.0),), **changes) / "card.json")
    return write_model(
        directory, network, golden=tuple(_golden((card, network), 2.0, name) for name in SIGNALS), **changes
    )


def _golden(model: tuple[Card, bytes] | None, seconds: float, signal: str = "chords") -> GoldenClip:
    if model is None:
        return GoldenClip(signal=signal, seconds=seconds, logits=(0.0,) * 16)
    card, network = model
    front_end = FrontEnd(card)
    waveform = decode(recording(signal, seconds)).waveform
    window = front_end.network_input([front_end.spectrogram_db(waveform)])
    logits = OnnxBackend(network, 16, input_name=card.input_name).logits(window)[0]
    return GoldenClip(signal=signal, seconds=seconds, logits=tuple(logits.tolist()))
