from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from ccmusic.errors import InvalidParameter
from ccmusic.finetuning.base_model import BaseModel, read_base_model
from ccmusic.finetuning.graph import with_head
from ccmusic.models.card import Card
from ccmusic.models.store import EMBEDDED_DIRECTORY, ModelLocation
from support.bands_model import band_network

PICTURES = np.random.default_rng(3).uniform(-80, 0, (2, 84, 60)).astype(np.float32)


@pytest.mark.parametrize("which", ["small", "embedded"])
def test_the_embedding_stays_and_the_logits_are_the_heads(which: str, start: BaseModel) -> None:
    if which == "embedded":
        start = read_base_model(ModelLocation("embedded", EMBEDDED_DIRECTORY))
    embedding = start.embed(PICTURES)
    generator = np.random.default_rng(5)
    weight, bias = generator.normal(size=(3, embedding.shape[1])), generator.normal(size=3)
    made = with_head(start.model, weight, bias)
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["logits", "embedding"]
    logits, same = session.run(["logits", "embedding"], {"cqt_db": PICTURES})
    np.testing.assert_allclose(same, embedding, atol=1e-5)
    np.testing.assert_allclose(logits, embedding @ weight.T + bias, rtol=1e-4, atol=1e-4)


def test_the_old_head_is_removed(start: BaseModel) -> None:
    made = with_head(start.model, np.zeros((2, 168)), np.zeros(2))
    names = [tensor.name for tensor in onnx.load_from_string(made).graph.initializer]
    assert "head.weight" not in names
    assert "kernel" in names


def test_a_head_can_be_replaced_again(start: BaseModel) -> None:
    once = with_head(start.model, np.ones((2, 168)), np.zeros(2))
    again = with_head(once, np.ones((5, 168)), np.arange(5.0))
    assert again == with_head(start.model, np.ones((5, 168)), np.arange(5.0))


def test_equal_heads_make_equal_bytes(start: BaseModel) -> None:
    assert with_head(start.model, np.ones((2, 168)), np.ones(2)) == with_head(
        start.model, np.ones((2, 168)), np.ones(2)
    )


def test_a_model_without_an_embedding_is_refused(model_directory: object) -> None:
    with pytest.raises(InvalidParameter, match=r"with an output 'embedding', .*; bands has logits"):
        read_base_model(ModelLocation("bands", model_directory))  # type: ignore[arg-type]


def test_a_model_with_pictures_as_input_is_refused(start: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from ccmusic.models.card_parts import Features

    mel: Card = start.card.model_copy(update={"features": Features(kind="mel_db")})
    monkeypatch.setattr("ccmusic.finetuning.base_model.read_model", lambda _: (mel, band_network()))
    with pytest.raises(InvalidParameter, match="input is the constant-Q transform"):
        read_base_model(ModelLocation("mel", None))
