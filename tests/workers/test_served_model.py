"""When two loaded models are the same one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ccmusic.inference.result import ModelIdentity
from ccmusic.workers.served_model import ServedModel

SERVED = ServedModel(
    ModelIdentity("bands", "0.0.1", "0" * 64), "onnxruntime-cpu", answer_hashes={"labels": "a", "sha256": "b"}
)


def test_a_model_is_the_same_whatever_describes_it():
    assert SERVED.difference(replace(SERVED, reference_mix=(0.5, 0.5), caveat="float32 runs")) == ()


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"answer_hashes": {"labels": "c", "sha256": "b"}}, ("labels",)),
        ({"answer_hashes": {"sha256": "c", "sure": "d"}}, ("labels", "sha256", "sure")),
        ({"identity": ModelIdentity("bands", "0.0.1", "1" * 64)}, ("identity",)),
        ({"backend": "openvino-cpu-int8"}, ("backend",)),
    ],
)
def test_a_difference_is_named(change, difference):
    assert SERVED.difference(replace(SERVED, **change)) == difference


def test_the_title_is_short():
    assert SERVED.title == "bands 0.0.1 000000000000 on onnxruntime-cpu"
