"""OpenVINO as a backend: the same logits, the same bits each time, and no data sent or stored."""

import os
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, load_model_from_string

pytest.importorskip("openvino")

from ccmusic.checkpoints.quantize import quantize
from ccmusic.errors import DependencyUnavailable, ModelRefused, NonFiniteOutput
from ccmusic.inference import openvino
from ccmusic.inference.openvino import OpenVinoBackend, has_bfloat16
from support.picture_network import N_LABELS, picture_network, pictures

PRECISIONS = ("float32", "bfloat16", "int8")


def reference_logits(model, batch):
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"picture": batch})[0]


@pytest.fixture
def has_bfloat16_arithmetic(monkeypatch):
    """So that bfloat16 is tried on every processor: OpenVINO computes in it also where it has to imitate it."""
    monkeypatch.setattr(openvino, "_require_bfloat16", lambda core: None)


@pytest.fixture(scope="module")
def networks():
    network = picture_network()
    return {"float32": network, "bfloat16": network, "int8": quantize(network, pictures(32))}


def test_float32_answers_as_onnx_runtime_does(networks):
    backend = OpenVinoBackend(networks["float32"], N_LABELS)
    batch = pictures(5)
    assert np.abs(backend.logits(batch) - reference_logits(networks["float32"], batch)).max() < 1e-4
    assert backend.name == "openvino-cpu-float32"


def test_int8_answers_as_onnx_runtime_does_on_the_same_file(networks):
    batch = pictures(64)
    answers = OpenVinoBackend(networks["int8"], N_LABELS, precision="int8").logits(batch)
    expected = reference_logits(networks["int8"], batch)
    assert np.abs(answers - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_input_gives_the_same_bits_after_other_inputs(networks, precision, threads, has_bfloat16_arithmetic):
    backend = OpenVinoBackend(networks[precision], N_LABELS, threads, precision)
    batches = {n: pictures(n, seed=n) for n in (1, 8, 3)}
    first = {n: backend.logits(batch).tobytes() for n, batch in batches.items()}
    for _ in range(20):
        for n, batch in batches.items():
            assert backend.logits(batch).tobytes() == first[n]


def test_a_later_run_does_not_overwrite_earlier_logits(networks):
    backend = OpenVinoBackend(networks["float32"], N_LABELS)
    answer = backend.logits(pictures(2, seed=1))
    kept = answer.copy()
    backend.logits(pictures(2, seed=2))
    assert (answer == kept).all()


def test_nan_is_refused():
    with pytest.raises(NonFiniteOutput, match="NaN or infinity"):
        OpenVinoBackend(picture_network(scale=float("nan")), N_LABELS).logits(pictures(1))


@pytest.mark.parametrize(
    ("model", "n_labels", "message"),
    [
        (b"no network", N_LABELS, "OpenVINO cannot read the network: "),
        (picture_network(), 9, "the network has 16 outputs for the card's 9 labels"),
        (picture_network(input_name="cqt_db"), N_LABELS, "expected the input 'picture' and an output 'logits'"),
    ],
)
def test_another_network_than_the_cards_is_refused(model, n_labels, message):
    with pytest.raises(ModelRefused, match=message):
        OpenVinoBackend(model, n_labels)


def test_openvino_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DependencyUnavailable, match=r"pip install 'ccmusic\[openvino\]'"):
        OpenVinoBackend(picture_network(), N_LABELS, precision="bfloat16")


def test_bfloat16_is_refused_where_it_would_be_emulated(monkeypatch):
    monkeypatch.setattr(openvino, "has_bfloat16", lambda cpuinfo: False)
    with pytest.raises(DependencyUnavailable, match=r"no bfloat16 arithmetic .* choose the precision int8 or float32"):
        OpenVinoBackend(picture_network(), N_LABELS, precision="bfloat16")


@pytest.mark.parametrize(
    ("cpuinfo", "has"),
    [
        ("model name\t: a\nflags\t\t: fpu avx512f avx512_bf16 vnni\n", True),
        ("flags\t\t: fpu avx512f avx512_vnni\n", False),
        ("Features\t: fp asimd bf16\n", True),
        ("model name\t: amx_bf16\n", False),
    ],
)
def test_cpuinfo_states_bfloat16(cpuinfo, has):
    assert has_bfloat16(cpuinfo) == has


def test_openvino_sends_and_stores_nothing(tmp_path):
    code = """
import sys
recorded = []
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "os.mkdir", "subprocess.Popen"):
        recorded.append(f"{event} {arguments}")
sys.addaudithook(hook)
from support.picture_network import picture_network, pictures
from ccmusic.inference.openvino import OpenVinoBackend
OpenVinoBackend(picture_network(), 16).logits(pictures(1))
recorded += [name for name in sys.modules if "telemetry" in name]
print(recorded)
"""
    folders = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    folders["PYTHONPATH"] = os.pathsep.join(sys.path)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | folders,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
    assert list(tmp_path.rglob("*")) == []


def with_another_output(network: bytes) -> bytes:
    """The same, with its logits' negatives as ``world_logits``."""
    model = load_model_from_string(network)
    model.graph.node.append(helper.make_node("Neg", ["logits"], ["world_logits"]))
    model.graph.output.append(helper.make_tensor_value_info("world_logits", TensorProto.FLOAT, ["batch", N_LABELS]))
    return model.SerializeToString()


def test_every_output_comes_from_one_run_and_the_first_has_the_same_bits(networks):
    batch = pictures(3)
    backend = OpenVinoBackend(with_another_output(networks["float32"]), N_LABELS, heads={"world_logits": N_LABELS})
    logits, world = backend.all_logits(batch)
    assert (world == -logits).all()
    assert logits.tobytes() == OpenVinoBackend(networks["float32"], N_LABELS).logits(batch).tobytes()


def test_a_missing_output_is_named(networks):
    with pytest.raises(ModelRefused, match="an output 'world_logits'"):
        OpenVinoBackend(networks["float32"], N_LABELS, heads={"world_logits": N_LABELS})
