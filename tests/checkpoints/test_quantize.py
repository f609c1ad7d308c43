"""Quantised networks agree with float32, have the same bytes each time, and leave no files behind."""

import subprocess
import sys
import tempfile

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ccmusic.checkpoints.quantize import Quantisation, activation_ranges, quantize
from ccmusic.errors import DependencyUnavailable, InvalidParameter, ModelRefused
from ccmusic.inference.onnx_runtime import OnnxBackend
from support.picture_network import N_LABELS, picture_network, pictures


@pytest.fixture(scope="module")
def quantised():
    return quantize(picture_network(), pictures(32))


def run(model, inputs):
    return OnnxBackend(model, N_LABELS, input_name="picture").logits(inputs)


def constants(model):
    """The constants of the network by name."""
    tensors = onnx.load_model_from_string(model).graph.initializer
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}


def test_it_agrees_with_float32_on_other_pictures(quantised):
    inputs = pictures(200, seed=7)
    expected, given = run(picture_network(), inputs), run(quantised, inputs)
    assert (expected.argmax(axis=1) == given.argmax(axis=1)).mean() >= 0.97
    assert 0 < np.abs(expected - given).max() < 0.1 * np.abs(expected).max()


def test_all_layers_but_the_first_and_last_have_integer_weights_with_a_scale_for_each_channel(quantised):
    weights = constants(quantised)
    assert weights["w1_quantized"].dtype == np.int8
    assert weights["w1_scale"].shape == (12,)
    assert weights["w0"].dtype == weights["w3"].dtype == np.float32


def test_settings_are_applied():
    network, inputs = picture_network(), pictures(8)
    assert constants(quantize(network, inputs, Quantisation(last_in_float=False)))["w3_quantized"].dtype == np.int8
    assert constants(quantize(network, inputs, Quantisation(first_in_float=False)))["w0_quantized"].dtype == np.int8
    assert constants(quantize(network, inputs, Quantisation(per_channel=False)))["w1_scale"].shape == ()
    assert constants(quantize(network, inputs, Quantisation(in_float=("conv_1",))))["w1"].dtype == np.float32
    reduced = constants(quantize(network, inputs, Quantisation(reduced_range=True)))["w1_quantized"]
    assert np.abs(reduced.astype(int)).max() <= 64
    how = Quantisation(signed_activations=True, first_in_float=False)
    signed = constants(quantize(network, np.abs(inputs), how))
    assert signed["picture_zero_point"].dtype == np.int8
    assert signed["picture_zero_point"] == 0  # although these pictures have no negative values


def test_the_same_bytes_each_time(quantised):
    assert quantize(picture_network(), pictures(32)) == quantised


def test_the_ranges_are_the_extremes_over_the_pictures():
    inputs = pictures(5)
    ranges = activation_ranges(picture_network(), inputs)
    assert ranges["picture"] == (inputs.min(), inputs.max())
    assert ranges["r0"][0] == 0
    logits = run(picture_network(), inputs)
    assert ranges["logits"] == pytest.approx((logits.min(), logits.max()), rel=1e-5)


def test_a_percentile_excludes_the_tails():
    inputs = pictures(16)
    low, high = activation_ranges(picture_network(), inputs, 90.0)["picture"]
    within = ((inputs >= low) & (inputs <= high)).mean()
    assert 0.89 < within < 0.91


def test_given_ranges_are_used():
    network, inputs = picture_network(), pictures(8)
    ranges = activation_ranges(network, inputs)
    assert quantize(network, inputs[:0], ranges=ranges) == quantize(network, inputs)


def test_no_file_and_no_temporary_directory_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *_, **__: pytest.fail("a temporary directory was made"))
    quantize(picture_network(), pictures(4))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_array_of_pictures_is_refused():
    with pytest.raises(InvalidParameter, match="pictures must hold at least one"):
        quantize(picture_network(), pictures(1)[:0])


def test_other_bytes_than_a_network_are_refused():
    with pytest.raises(ModelRefused, match="not an ONNX model"):
        quantize(b"\xffno network", pictures(1))


def test_a_network_that_computes_nan_is_refused():
    with pytest.raises(ModelRefused, match="NaN or infinity"):
        quantize(picture_network(scale=np.nan), pictures(1))


def test_without_the_package_onnx_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DependencyUnavailable, match=r"ccmusic\[import\]"):
        quantize(b"", pictures(1))


def test_importing_the_module_does_not_import_onnx():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, ccmusic.checkpoints.quantize; print('onnx' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
