"""Each backbone is compared with the real torchvision: keys, parameters, and logits for computed weights.

``tests/data/make_torchvision_golden.py`` makes the golden logits. The networks have full size, so each is built once,
and released before the next.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import runpy
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ccmusic.checkpoints import architectures

DATA = Path(__file__).parents[2] / "data"
COMPUTED = runpy.run_path(str(DATA / "computed_weights.py"))
GOLDEN = json.loads((DATA / "torchvision_golden.json").read_text())
N_LABELS = 16

# The golden logits are between -10 and 10 and differ between the two pictures by 1 to 5. float32 has 7 digits; other
# orders of summation in dozens of layers lose one or two of them; a wrong epsilon, the commonest mistake, loses four.
MAX_LOGIT_ERROR = 1e-4

# Of torchvision's original networks with the 1000 classes of ImageNet, from its documentation.
PUBLISHED_PARAMETERS = {
    "vgg19_bn": 143_678_248,
    "vit_b_16": 86_567_656,
    "convnext_base": 88_591_464,
    "inception_v3": 27_161_264,
    "swin_b": 87_768_224,
}
ORIGINAL_HEADS = {"vgg19_bn": (25088, 4096, 4096, 1000), "inception_v3": (2048, 1000), "vit_b_16": (768, 1000)}


@pytest.fixture(scope="module", params=architectures.ARCHITECTURES)
def network(request):
    """Name and computed weights of one backbone."""
    name = request.param
    return name, COMPUTED["state"](architectures.manifest(name, N_LABELS))


def logits_of_onnx_runtime(model: bytes, pictures: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # one picture, then both: any batch size
    (one,), (two,) = (session.run(["logits"], {"picture": part}) for part in (pictures[:1], pictures))
    assert np.abs(one - two[:1]).max() < MAX_LOGIT_ERROR
    return two


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_the_keys_are_torchvisions(name):
    keys = [f"{key} {list(e.shape)} {e.dtype}" for key, e in architectures.manifest(name, N_LABELS).items()]
    assert len(keys) == GOLDEN[name]["keys"]
    assert hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest() == GOLDEN[name]["keys_sha256"]


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_the_number_of_parameters_is_the_published_one(name):
    architecture = architectures.architecture(name)
    expected = architectures.manifest(name, N_LABELS)
    assert architectures.n_parameters(expected) == GOLDEN[name]["parameters"]
    linear = [f"{architecture.head}.{architecture.head_offset + layer}." for layer in (1, 4, 7, 9)]
    without_head = architectures.n_parameters(
        {key: entry for key, entry in expected.items() if not key.startswith(tuple(linear))}
    )
    sizes = ORIGINAL_HEADS.get(name, (1024, 1000))
    original_head = sum(a * b + b for a, b in pairwise(sizes))
    assert without_head + original_head == PUBLISHED_PARAMETERS[name] == GOLDEN[name]["original_parameters"]


def test_every_implementation_gives_torchvisions_logits(network):
    name, state = network
    pictures, expected = COMPUTED["pictures"](), np.array(GOLDEN[name]["logits"])
    answers = {"ONNX Runtime": logits_of_onnx_runtime(architectures.build_onnx(name, state, N_LABELS), pictures)}
    for framework in ["numpy"] + ["torch"] * (importlib.util.find_spec("torch") is not None):
        # slower, so only for the last picture
        answers[framework], _ = architectures.reference_logits(name, state, pictures[-1:], framework)
    errors = {source: float(np.abs(logits - expected[-len(logits) :]).max()) for source, logits in answers.items()}
    assert max(errors.values()) < MAX_LOGIT_ERROR, errors
