"""ONNX, NumPy and torch give the same logits for each architecture, on networks a sixteenth as wide."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from ccmusic.checkpoints import architectures
from ccmusic.checkpoints.architectures import head
from ccmusic.errors import InvalidParameter, ModelRefused
from support.checkpoints import narrow_state, pictures

N_LABELS = 9
MAX_LOGIT_ERROR = 1e-5
"""The logits of narrow networks are between -3 and 3, and sum fewer numbers than those of full size."""


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_all_implementations_agree_for_any_batch_size_and_number_of_labels(name):
    state = narrow_state(name, N_LABELS)
    session = onnxruntime.InferenceSession(
        architectures.build_onnx(name, state, N_LABELS), providers=["CPUExecutionProvider"]
    )
    expected, framework = architectures.reference_logits(name, state, pictures(), "numpy")
    assert (framework, expected.dtype, expected.shape) == ("numpy", np.float32, (2, N_LABELS))
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    for part in (slice(0, 1), slice(0, 2)):
        (given,) = session.run(["logits"], {"picture": pictures()[part]})
        assert np.abs(given - expected[part]).max() < MAX_LOGIT_ERROR
    if importlib.util.find_spec("torch") is not None:
        given, framework = architectures.reference_logits(name, state, pictures())
        assert framework == "torch"
        assert np.abs(given - expected).max() < MAX_LOGIT_ERROR


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_the_file_is_the_same_every_time_and_contains_no_metadata(name):
    model = architectures.build_onnx(name, narrow_state(name), 16)
    assert model == architectures.build_onnx(name, narrow_state(name), 16)
    parsed = onnx.load_model_from_string(model)
    onnx.checker.check_model(parsed, full_check=True)
    assert (parsed.producer_name, parsed.graph.name, parsed.doc_string) == ("ccmusic", name, "")
    assert not parsed.metadata_props
    (picture,), (logits,) = parsed.graph.input, parsed.graph.output
    sizes = [
        [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in (picture, logits)
    ]
    assert (picture.name, logits.name, sizes) == ("picture", "logits", [["batch", 3, 224, 224], ["batch", 16]])


def test_batch_normalisation_and_layer_scales_are_folded_into_weights():
    for name in architectures.ARCHITECTURES:
        model = onnx.load_model_from_string(architectures.build_onnx(name, narrow_state(name), 16))
        operators = {node.op_type for node in model.graph.node}
        assert not operators & {"BatchNormalization", "Mul", "Div", "Sqrt", "Split"}, name


@pytest.mark.parametrize(("features", "n_labels", "widths"), [(25088, 16, (3958, 629, 100)), (768, 16, (289, 110, 42))])
def test_the_widths_of_the_head_are_geometric(features, n_labels, widths):
    assert head.widths(features, n_labels) == widths


def test_the_error_names_a_missing_or_different_parameter():
    state = narrow_state("vit_b_16")
    with pytest.raises(ModelRefused, match=r"'class_token' is float32 \[1, 48\], expected float32 \[1, 1, 48\]"):
        architectures.build_onnx("vit_b_16", state | {"class_token": np.zeros((1, 48), np.float32)}, 16)
    del state["encoder.ln.bias"]
    with pytest.raises(ModelRefused, match=r"the checkpoint has no 'encoder\.ln\.bias'"):
        architectures.reference_logits("vit_b_16", state, pictures(), "numpy")


def test_an_unknown_architecture_or_framework_is_refused(monkeypatch):
    with pytest.raises(InvalidParameter, match=r"architecture must be one of vgg19_bn, vit_b_16.*not 'resnet50'"):
        architectures.manifest("resnet50", 16)
    with pytest.raises(InvalidParameter, match="framework must be torch or numpy, not 'jax'"):
        architectures.reference_logits("vgg19_bn", narrow_state(), pictures(), "jax")
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    with pytest.raises(InvalidParameter, match="torch is not installed; use numpy"):
        architectures.reference_logits("vgg19_bn", narrow_state(), pictures(), "torch")
    assert architectures.reference_logits("vgg19_bn", narrow_state(), pictures()[:1])[1] == "numpy"
