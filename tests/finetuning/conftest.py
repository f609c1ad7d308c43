"""Tones in three bands by five artists each, and a small model with an embedding to start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ccmusic.audio.decode import DecodeLimits
from ccmusic.evaluation.labelled_data import read_labelled
from ccmusic.finetuning.base_model import BaseModel, read_base_model
from ccmusic.finetuning.plan import Plan
from ccmusic.finetuning.training_set import TrainingSet, read_training_set
from ccmusic.models.store import ModelLocation
from support.bands_model import write_model
from support.recordings import bin_frequency, tone, wav

LABELS = ("high", "low", "middle")
ARTISTS = 5
SECONDS = (1.4, 2.6)


def embedding_network() -> bytes:
    """Decibels through one small convolution; its mean over time is the embedding, a linear layer names 16 genres."""
    generator = np.random.default_rng(16)
    numbers = {
        "kernel": generator.normal(size=(4, 1, 3, 3)) / 30,
        "kernel_bias": np.full(4, 0.5),
        "head.weight": generator.normal(size=(16, 168)) / 10,
        "head.bias": np.zeros(16),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["cqt_db", "one"], ["picture"]),
        helper.make_node("Add", ["picture", "offset"], ["lifted"]),
        helper.make_node("Conv", ["lifted", "kernel", "kernel_bias"], ["maps"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("ReduceMean", ["active", "time"], ["levels"], keepdims=0),
        helper.make_node("Flatten", ["levels"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "head.weight", "head.bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("cqt_db", TensorProto.FLOAT, ["batch", 84, "frames"])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 16]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 168]),
        ],
        [
            *(numpy_helper.from_array(value.astype(np.float32), name) for name, value in numbers.items()),
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(np.array([3]), "time"),
            numpy_helper.from_array(np.float32(60), "offset"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


@pytest.fixture(scope="session")
def start_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory around `embedding_network`."""
    return write_model(tmp_path_factory.mktemp("models") / "small", embedding_network(), name="small")


@pytest.fixture(scope="session")
def start(start_directory: Path) -> BaseModel:
    return read_base_model(ModelLocation(str(start_directory), start_directory))


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of labels and artists: tones in a band of each label, a different one for each artist."""
    root = tmp_path_factory.mktemp("tones")
    for label, bottom in zip(LABELS, (60, 5, 30), strict=True):
        for artist in range(ARTISTS):
            directory = root / label / f"{label} {artist}"
            directory.mkdir(parents=True)
            for take, seconds in enumerate(SECONDS):
                waveform = tone(bin_frequency(bottom + 2 * artist), seconds)
                (directory / f"{take}.wav").write_bytes(wav(waveform))
    return root


@pytest.fixture(scope="session")
def training_set(tones: Path, start: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """`tones`, read, and some held out."""
    directory = tmp_path_factory.mktemp("spectrograms")
    return read_training_set(read_labelled(tones), start.card, Plan(), directory, jobs=2, limits=DecodeLimits())
