"""From trained weights to what is shipped: an ONNX file, checked against torch, and its card."""

from __future__ import annotations

import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from ccmusic.errors import ModelRefused
from ccmusic.features.cqt import cqt_db
from ccmusic.models.card import Card
from ccmusic.models.golden import golden_clips
from ccmusic.training.network import GenreNetwork

MODEL_FILE = "model.onnx"
OPSET = 18
TOLERANCE = 1e-4
GOLDEN_SECONDS = (10.0, 1.0)
"""The first is for the networks that answer for recordings, the other for those that answer for short sounds."""


def serving_network(trained: GenreNetwork, stem_stride: tuple[int, int], front: str = "cqt") -> GenreNetwork:
    """Copy a trained network without the teachers' heads, in evaluation mode."""
    network = GenreNetwork(stem_stride, front=front)
    network.load_state_dict(
        {name: value for name, value in trained.state_dict().items() if not name.startswith("teachers.")}
    )
    network.eval()
    return network


def export_onnx(network: GenreNetwork, path: Path) -> None:
    """Write the network as ONNX and check that ONNX Runtime answers as torch does.

    Parameters
    ----------
    network : GenreNetwork
        In evaluation mode, without teachers' heads.
    path : Path
        The file to write. Input ``cqt_db`` [batch, 84, frames], outputs ``logits`` [batch, 16] and ``embedding``
        [batch, 384]; batch and frames are free.

    Raises
    ------
    ModelRefused
        The two disagree by more than `TOLERANCE`.
    """
    # the exporter warns about its own dependencies, by both ways
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, 84, 431),),
            str(path),
            input_names=["cqt_db"],
            output_names=["logits", "embedding"],
            dynamic_shapes={"cqt_db": {0: torch.export.Dim("batch", min=1), 2: torch.export.Dim("frames", min=13)}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    _strip(path)
    worst = largest_difference(network, path)
    if worst > TOLERANCE:
        raise ModelRefused(f"ONNX and torch differ by {worst:.2g}, more than {TOLERANCE}")


def _strip(path: Path) -> None:
    """Remove the exporter's notes, which hold paths of the machine, so that equal weights give equal bytes."""
    model = onnx.load(path)
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.graph.doc_string = ""
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]
    for part in [*model.graph.node, *values]:
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.save(model, path)


def largest_difference(network: GenreNetwork, path: Path) -> float:
    """Largest difference between torch and ONNX Runtime over logits and embeddings of several batches and lengths."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    worst = 0.0
    for batch, frames in ((1, 13), (3, 44), (1, 130), (2, 431), (1, 1292), (1, 1733)):
        pictures = generator.uniform(-80, 0, size=(batch, 84, frames)).astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(pictures))
        given = session.run(["logits", "embedding"], {"cqt_db": pictures})
        worst = max(worst, *(float(np.abs(e.numpy() - g).max()) for e, g in zip(expected, given, strict=True)))
    return worst


def write_card(directory: Path, **fields: Any) -> Card:
    """Write the card of the network that lies in a model directory.

    Parameters
    ----------
    directory : Path
        Holds `MODEL_FILE`.
    **fields
        Fields of `Card`, less file, hash and golden clips, which are taken from the network itself.

    Returns
    -------
    Card
    """
    path = directory / MODEL_FILE
    heads = fields.get("heads", ())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs = ["logits", *(head.output for head in heads)]
    golden = golden_clips(
        lambda waveform: session.run(outputs, {"cqt_db": cqt_db(waveform)[np.newaxis]}),
        GOLDEN_SECONDS,
        [head.taxonomy for head in heads],
    )
    card = Card(
        file=MODEL_FILE,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        golden=golden,
        **fields,
    )
    card.save(directory)
    return card
