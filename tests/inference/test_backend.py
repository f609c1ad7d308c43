import sys

import numpy as np
import onnxruntime
import pytest

from ccmusic.errors import DependencyUnavailable, ModelRefused, NonFiniteOutput
from ccmusic.inference.onnx_runtime import OnnxBackend, device_for
from support.bands_model import band_network

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.mark.parametrize(
    ("available", "asked", "used"),
    [
        ([CPU], "auto", "cpu"),
        ([CPU], "cpu", "cpu"),
        ([CUDA, CPU], "auto", "cuda"),
        ([CUDA, CPU], "cuda", "cuda"),
        ([CUDA, CPU], "cpu", "cpu"),
    ],
)
def test_the_device(monkeypatch, available, asked, used):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    assert device_for(asked) == used


def test_the_error_for_a_missing_gpu_lists_the_available_providers(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", CPU])
    with pytest.raises(DependencyUnavailable, match=r"CCMUSIC_DEVICE=cuda.*only AzureExecutionProvider, CPU"):
        device_for("cuda")


class _FellBack:
    """What ONNX Runtime makes when the provider's libraries are there and the driver is not."""

    def __init__(self, *_, **__):
        pass

    def get_providers(self):
        return [CPU]


def test_a_session_that_fell_back_to_the_cpu_is_refused(monkeypatch):
    monkeypatch.setattr(onnxruntime, "InferenceSession", _FellBack)
    with pytest.raises(DependencyUnavailable, match=f"run on {CUDA}, but ONNX Runtime fell back to {CPU}"):
        OnnxBackend(b"", 16, device="cuda")


def test_the_bytes_of_the_file_are_not_kept_in_memory():
    model = band_network()
    before = sys.getrefcount(model)
    backend = OnnxBackend(model, 16)
    assert sys.getrefcount(model) == before
    assert backend.logits(np.zeros((1, 84, 9), np.float32)).shape == (1, 16)


def test_another_input_is_refused():
    with pytest.raises(ModelRefused, match=r"has inputs \['cqt_db'\].*expected the input 'picture'"):
        OnnxBackend(band_network(), 16, input_name="picture")


def test_another_number_of_outputs_is_refused():
    with pytest.raises(ModelRefused, match="16 outputs for the card's 3 labels"):
        OnnxBackend(band_network(), 3)


def test_nan_is_refused():
    with pytest.raises(NonFiniteOutput, match="NaN or infinity"):
        OnnxBackend(band_network(scale=float("nan")), 16).logits(np.zeros((1, 84, 20), np.float32))
