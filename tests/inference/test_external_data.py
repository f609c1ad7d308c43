"""Networks whose weights are in another file than the one with the hash."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ccmusic.errors import ModelRefused
from ccmusic.inference.external_data import has_external_data
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.card import read_card
from ccmusic.models.store import EMBEDDED_DIRECTORY, locate
from support.bands_model import band_network, write_model


def external(name: str = "weights") -> TensorProto:
    """A tensor whose content is in the file ``weights.bin``."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def model_of(**parts: object) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph(**({"nodes": [], "inputs": [], "outputs": []} | parts), name="g"))


def constant(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], value=tensor)


def branch(*nodes: onnx.NodeProto) -> onnx.NodeProto:
    return helper.make_node("If", ["condition"], ["y"], then_branch=helper.make_graph([*nodes], "then", [], []))


def with_function(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    model = model_of()
    model.functions.append(helper.make_function("own", "f", [], ["c"], [*nodes], []))
    return model


@pytest.mark.parametrize(
    "model",
    [
        model_of(initializer=[external()]),
        model_of(nodes=[constant(external())]),
        model_of(nodes=[branch(constant(external()))]),
        with_function(constant(external())),
    ],
    ids=["initializer", "constant", "subgraph", "function"],
)
def test_weights_in_another_file_are_found_wherever_they_are(model):
    assert has_external_data(model.SerializeToString())


@pytest.mark.parametrize(
    "model",
    [
        band_network(),
        model_of(nodes=[branch(constant(numpy_helper.from_array(np.ones(4, np.float32))))]).SerializeToString(),
        (EMBEDDED_DIRECTORY / "model.onnx").read_bytes(),
        b"",
        b"not an ONNX file",
        band_network()[:1000],
    ],
    ids=["bands", "subgraph", "embedded", "empty", "text", "truncated"],
)
def test_other_files_have_none(model):
    assert not has_external_data(model)


def test_a_model_with_weights_in_another_file_is_refused_wherever_that_file_is(tmp_path, monkeypatch):
    """The runtime would read it from the working directory, and the card's hash would not cover it."""
    directory = write_model(tmp_path / "m")
    network = onnx.load_from_string(band_network())
    path = directory / "model.onnx"
    onnx.save(network, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    read_card(directory / "card.json").model_copy(update={"sha256": digest}).save(directory)
    monkeypatch.chdir(directory)
    with pytest.raises(ModelRefused, match="in another file, which the card's hash does not cover"):
        Pipeline.load(locate(str(directory)))
