"""Eight-bit networks: they agree with float32, are the same bytes each time, and leave nothing behind."""

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
def whole():
    return quantize(picture_network(), pictures(32))


def answers(model, shown):
    return OnnxBackend(model, N_LABELS, input_name="picture").logits(shown)


def kinds(model):
    """What each tensor of weights is, by its name."""
    tensors = onnx.load_model_from_string(model).graph.initializer
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}


def test_it_answers_as_float32_does_to_other_pictures(whole):
    shown = pictures(200, seed=7)
    expected, given = answers(picture_network(), shown), answers(whole, shown)
    assert (expected.argmax(axis=1) == given.argmax(axis=1)).mean() >= 0.97
    assert 0 < np.abs(expected - given).max() < 0.1 * np.abs(expected).max()


def test_weights_are_integers_with_a_scale_for_each_channel_but_for_the_first_and_last_layer(whole):
    weights = kinds(whole)
    assert weights["w1_quantized"].dtype == np.int8
    assert weights["w1_scale"].shape == (12,)
    assert weights["w0"].dtype == weights["w3"].dtype == np.float32


def test_settings_are_heeded():
    network, shown = picture_network(), pictures(8)
    assert kinds(quantize(network, shown, Quantisation(last_in_float=False)))["w3_quantized"].dtype == np.int8
    assert kinds(quantize(network, shown, Quantisation(first_in_float=False)))["w0_quantized"].dtype == np.int8
    assert kinds(quantize(network, shown, Quantisation(per_channel=False)))["w1_scale"].shape == ()
    assert kinds(quantize(network, shown, Quantisation(in_float=("conv_1",))))["w1"].dtype == np.float32
    reduced = kinds(quantize(network, shown, Quantisation(reduced_range=True)))["w1_quantized"]
    assert np.abs(reduced.astype(int)).max() <= 64
    how = Quantisation(signed_activations=True, first_in_float=False)
    signed = kinds(quantize(network, np.abs(shown), how))
    assert signed["picture_zero_point"].dtype == np.int8
    assert signed["picture_zero_point"] == 0  # in the middle, though these pictures have nothing below zero


def test_the_same_bytes_each_time(whole):
    assert quantize(picture_network(), pictures(32)) == whole


def test_ranges_are_those_of_the_pictures():
    shown = pictures(5)
    ranges = activation_ranges(picture_network(), shown)
    assert ranges["picture"] == (shown.min(), shown.max())
    assert ranges["r0"][0] == 0
    logits = answers(picture_network(), shown)
    assert ranges["logits"] == pytest.approx((logits.min(), logits.max()), rel=1e-5)


def test_a_percentile_leaves_out_the_tails():
    shown = pictures(16)
    low, high = activation_ranges(picture_network(), shown, 90.0)["picture"]
    within = ((shown >= low) & (shown <= high)).mean()
    assert 0.89 < within < 0.91


def test_ranges_that_are_given_are_used():
    network, shown = picture_network(), pictures(8)
    ranges = activation_ranges(network, shown)
    assert quantize(network, shown[:0], ranges=ranges) == quantize(network, shown)


def test_no_file_is_left_or_even_made(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *_, **__: pytest.fail("a temporary directory was made"))
    quantize(picture_network(), pictures(4))
    assert list(tmp_path.iterdir()) == []


def test_no_pictures_are_refused():
    with pytest.raises(InvalidParameter, match="pictures must hold at least one"):
        quantize(picture_network(), pictures(1)[:0])


def test_what_is_no_network_is_refused():
    with pytest.raises(ModelRefused, match="not an ONNX model"):
        quantize(b"\xffno network", pictures(1))


def test_a_network_that_computes_nan_is_refused():
    with pytest.raises(ModelRefused, match="NaN or infinity"):
        quantize(picture_network(scale=np.nan), pictures(1))


def test_without_the_package_onnx_the_text_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DependencyUnavailable, match=r"ccmusic\[import\]"):
        quantize(b"", pictures(1))


def test_nothing_heavy_is_imported_with_the_module():
    heard = subprocess.run(
        [sys.executable, "-c", "import sys, ccmusic.checkpoints.quantize; print('onnx' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert heard.stdout.strip() == "False"
