"""A bad new model at a swap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from faults.service import Service
from faults.traffic import SHORT, probabilities
from support.bands_model import band_network, write_model

WIDTH = 1024
STEPS = 60


def random_network() -> bytes:
    """A network of the right shape with random weights: its card is consistent, but its answers are wrong."""
    weights = np.random.default_rng(5).normal(0, 0.05, (84, 16)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["cqt_db", "time_axis"], ["levels"], keepdims=0),
            helper.make_node("MatMul", ["levels", "weights"], ["logits"]),
        ],
        "noise",
        [helper.make_tensor_value_info("cqt_db", TensorProto.FLOAT, ["batch", 84, "frames"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 16])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([2]), "time_axis")],
    )
    return _bytes(graph)


def slow_network() -> bytes:
    """The bands network with another branch of large products, whose result is multiplied by almost zero."""
    bands = np.zeros((84, 16), np.float32)
    for i in range(16):
        bands[5 * i : 5 * i + 5, i] = 0.1 / 5
    nodes = [
        helper.make_node("ReduceMean", ["cqt_db", "time_axis"], ["levels"], keepdims=0),
        helper.make_node("MatMul", ["levels", "bands"], ["answers"]),
        helper.make_node("Unsqueeze", ["levels", "time_axis"], ["column"]),
        helper.make_node("MatMul", ["column", "row"], ["wide0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"wide{i}", "half"], [f"wide{i + 1}"]) for i in range(STEPS)]
    nodes += [
        helper.make_node("ReduceMean", [f"wide{STEPS}", "both_axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "almost_zero"], ["zero"]),
        helper.make_node("Unsqueeze", ["zero", "last_axis"], ["zeros"]),
        helper.make_node("Add", ["answers", "zeros"], ["logits"]),
    ]
    constants = {
        "bands": bands,
        "row": np.ones((1, WIDTH), np.float32),
        "half": np.eye(WIDTH, dtype=np.float32) / 2,
        "almost_zero": np.array(1e-30, np.float32),
        "time_axis": np.array([2]),
        "both_axes": np.array([1, 2]),
        "last_axis": np.array([1]),
    }
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("cqt_db", TensorProto.FLOAT, ["batch", 84, "frames"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 16])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return _bytes(graph)


def _bytes(graph) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five models: the present one, a good one, a bad one, a slow one and one with an altered file."""
    place = tmp_path_factory.mktemp("repository")
    for name, network in {
        "present": band_network(),
        "good": band_network(),
        "noise": random_network(),
        "slow": slow_network(),
    }.items():
        write_model(place / name, network, name=name)
    altered = place / "altered"
    write_model(altered, band_network(), name="altered")
    (altered / "model.onnx").write_bytes(band_network(0.2))
    return place


def load(service: Service, name: str):
    return service.admin("POST", f"/v2/repository/models/{name}/load")


def model_of(service: Service) -> str:
    return service.classify(SHORT).json["model"]["name"]


@pytest.mark.fault("M8")
def test_a_bad_new_model_is_not_switched_to(row, under_traffic, repository):
    with under_traffic(model=repository / "present", model_repository=repository) as (service, traffic):
        for _ in range(20):  # recent recordings for the comparison
            service.classify(SHORT)
        for once in row.repeats(service, traffic):
            held = model_of(service)
            for name, cause in {"noise": "agree|same genre", "slow": "time|slow", "altered": "SHA-256"}.items():
                once.begin()
                answer = load(service, name)
                once.detected = max(once.detected or 0.0, once.detected_now())
                assert answer.status == 409, answer.text
                error = answer.json["error"]
                assert any(part in error for part in cause.split("|")), error
                row.remark(f"{name}: “{error}”")
                assert model_of(service) == held
            once.within = True
            for name in ("good", "present"):  # a good one is accepted
                once.begin()
                answer = load(service, name)
                assert answer.status == 200, answer.text
                assert model_of(service) == name
                assert probabilities(service.classify(SHORT)) == traffic.reference
                once.recovered_when()
        _, wrong, errors = traffic.counts()
        assert not errors, "every request is answered"
        assert wrong == 0
    row.remark("detected = until the refusal; recovered = the switch to a good model, under traffic all the time")
