"""Writes a trained network as an ONNX file and checks it against torch."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from ccmusic.errors import ModelRefused
from ccmusic.training.network import GenreNetwork

OPSET = 18
TOLERANCE = 1e-4


def serving_network(trained: GenreNetwork, stem_stride: tuple[int, int], front: str = "cqt") -> GenreNetwork:
    """Copy a trained network without the teachers' heads, in evaluation mode."""
    network = GenreNetwork(stem_stride, front=front)
    network.load_state_dict(
        {name: value for name, value in trained.state_dict().items() if not name.startswith("teachers.")}
    )
    network.eval()
    return network


def export_onnx(network: GenreNetwork, path: Path) -> None:
    """Write a network as an ONNX file and check that ONNX Runtime gives the results of torch.

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
        They differ by more than `TOLERANCE`.
    """
    # the exporter logs and warns about its own dependencies
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


def _strip(path: Path) -> None:
    """Remove the notes of the exporter, which contain paths of this machine: equal weights must give equal bytes."""
    model = onnx.load(path)
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.graph.doc_string = ""
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]
    for part in [*model.graph.node, *values]:
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.save(model, path)
