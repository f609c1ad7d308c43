from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ccmusic.errors import InvalidParameter, ModelRefused
from ccmusic.finetuning.base_model import BaseModel, read_base_model
from ccmusic.finetuning.graph import with_head
from ccmusic.inference.onnx_runtime import OnnxBackend
from ccmusic.models.store import EMBEDDED_DIRECTORY, ModelLocation

torch = pytest.importorskip("torch")

from ccmusic.finetuning.trainable import OPERATORS, TrainableGraph  # noqa: E402

GENERATOR = np.random.default_rng(8)
PICTURES = GENERATOR.uniform(-80, 0, (3, 84, 50)).astype(np.float32)


def _with_random_head(start: BaseModel, n_labels: int = 3) -> bytes:
    size = start.embed(PICTURES[:1]).shape[1]
    return with_head(start.model, np.random.default_rng(2).normal(size=(n_labels, size)), np.arange(n_labels) / 9)


def _every_operator() -> bytes:
    """A network that has each of `OPERATORS` with other than its usual attributes."""

    def node(kind: str, inputs: str, output: str, **attributes: object) -> object:
        return helper.make_node(kind, inputs.split(), [output], **attributes)

    numbers = {
        "one": np.array([1]), "last": np.array([2]), "scale": np.float32(30), "half": np.float32(0.5),
        "w": GENERATOR.normal(size=(6, 1, 3, 5)), "b": GENERATOR.normal(size=6),
        "dw": GENERATOR.normal(size=(6, 1, 3, 3)), "gamma": GENERATOR.uniform(0.5, 2, 6),
        "beta": GENERATOR.normal(size=6), "mean": GENERATOR.normal(size=6), "var": GENERATOR.uniform(0.5, 2, 6),
        "g": GENERATOR.normal(size=(6, 5)), "c": GENERATOR.normal(size=5), "m": GENERATOR.normal(size=(84, 4)),
        "w1": GENERATOR.normal(size=(4, 84, 1)) / 99, "edges": np.array([0, 0, 1, 0, 0, 1]),
        "between": GENERATOR.normal(size=(4, 1, 4)), "own_head.weight": GENERATOR.normal(size=(3, 13)),
        "own_head.bias": GENERATOR.normal(size=3),
    }  # fmt: skip
    nodes = [
        node("Unsqueeze", "cqt_db one", "x0"),
        node("Div", "x0 scale", "x1"),
        node("Conv", "x1 w b", "x2", strides=[2, 3], pads=[1, 2, 1, 2]),
        node("BatchNormalization", "x2 gamma beta mean var", "x3", epsilon=1e-3),
        node("HardSwish", "x3", "x4"),
        node("Conv", "x4 dw", "x5", group=6, dilations=[2, 2], pads=[2, 2, 2, 2]),
        node("Relu", "x5", "x6"),
        node("GlobalAveragePool", "x6", "x7"),
        node("HardSigmoid", "x7", "x8", alpha=0.3, beta=0.4),
        node("Mul", "x6 x8", "x9"),
        node("Sub", "x9 half", "x10"),
        node("GlobalAveragePool", "x10", "x11"),
        node("Flatten", "x11", "x12", axis=1),
        node("Gemm", "x12 g c", "x13", alpha=0.5, beta=2.0),
        node("Tanh", "x13", "x14"),
        node("ReduceMean", "cqt_db last", "y0", keepdims=0),
        node("MatMul", "y0 m", "y1"),
        node("Softmax", "y1", "y2", axis=1),
        node("Sigmoid", "y2", "y3"),
        node("Add", "y3 y2", "y4"),
        node("Conv", "cqt_db w1", "p0"),
        node("Pad", "p0 edges", "p1", mode="edge"),
        node("ConvTranspose", "p1 between", "p2", group=4, strides=[2], pads=[3, 3]),
        node("ReduceMean", "p2 last", "p3", keepdims=0),
        node("Concat", "x14 y4 p3", "z", axis=1),
        node("Identity", "z", "embedding"),
        node("Gemm", "embedding own_head.weight own_head.bias", "logits", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "every operator",
        [helper.make_tensor_value_info("cqt_db", TensorProto.FLOAT, ["batch", 84, "frames"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(value if value.dtype == np.int64 else value.astype(np.float32), name)
            for name, value in ((name, np.asarray(value)) for name, value in numbers.items())
        ],
    )
    assert {n.op_type for n in nodes} == set(OPERATORS)  # type: ignore[attr-defined]
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@pytest.mark.parametrize("which", ["small", "embedded", "every operator"])
def test_torch_answers_as_onnx_runtime(which: str, start: BaseModel) -> None:
    if which == "every operator":
        model = _every_operator()
    else:
        model = _with_random_head(
            start if which == "small" else read_base_model(ModelLocation("embedded", EMBEDDED_DIRECTORY))
        )
    expected = OnnxBackend(model, 3).logits(PICTURES)
    np.testing.assert_allclose(TrainableGraph(model).answer(PICTURES), expected, rtol=1e-3, atol=1e-3)


def test_an_untrained_graph_is_written_unchanged(start: BaseModel) -> None:
    model = _with_random_head(start)
    assert TrainableGraph(model).model() == model


def test_trained_weights_are_written(start: BaseModel) -> None:
    network = TrainableGraph(_with_random_head(start))
    before = network.answer(PICTURES)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.1)
    after = network.answer(PICTURES)
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(OnnxBackend(network.model(), 3).logits(PICTURES), after, atol=1e-3)


def test_every_weight_learns_and_nothing_else(start: BaseModel) -> None:
    network = TrainableGraph(_with_random_head(start)).train()
    network(torch.from_numpy(PICTURES)).square().sum().backward()
    shapes = sorted(tuple(parameter.shape) for parameter in network.parameters())
    assert shapes == [(3,), (3, 168), (4,), (4, 1, 3, 3)]
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in network.parameters())
    assert [tuple(p.shape) for p in network.head()] == [(3, 168), (3,)]
    assert len(network.trunk()) == 2


def test_dropout_is_active_only_in_training(start: BaseModel) -> None:
    network = TrainableGraph(_with_random_head(start)).train()
    pictures = torch.from_numpy(PICTURES)
    assert not torch.equal(network(pictures), network(pictures))
    np.testing.assert_array_equal(network.answer(PICTURES), network.answer(PICTURES))
    assert network.training


def test_an_unknown_operator_is_named() -> None:
    graph = helper.make_graph(
        [helper.make_node("Erf", ["cqt_db"], ["embedding"]), helper.make_node("Elu", ["embedding"], ["logits"])],
        "strange",
        [helper.make_tensor_value_info("cqt_db", TensorProto.FLOAT, ["batch", 84])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 84])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    with pytest.raises(InvalidParameter, match=r"network with Elu, Erf: use --tune head"):
        TrainableGraph(model)


def test_a_difference_to_onnx_runtime_is_refused(start: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    network = TrainableGraph(_with_random_head(start))
    monkeypatch.setitem(OPERATORS, "Relu", lambda _, x: x.abs())
    with pytest.raises(ModelRefused, match="ONNX Runtime and torch differ by"):
        network.model()
