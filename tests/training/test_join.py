from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ccmusic.errors import ModelRefused
from ccmusic.training.join import SHORT_FRAMES, join

torch = pytest.importorskip("torch")


def _answers(path: Path, frames: int) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(frames).uniform(-80, 0, size=(2, 84, frames)).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"cqt_db": picture}), strict=True))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three untrained networks and the joined one."""
    from ccmusic.training.export import export_onnx
    from ccmusic.training.network import GenreNetwork

    directory = tmp_path_factory.mktemp("join")
    out = {name: directory / f"{name}.onnx" for name in ("long", "short", "world", "joined")}
    for seed, (name, front) in enumerate((("long", "cqt"), ("short", "mel"), ("world", "mel"))):
        torch.manual_seed(seed)
        export_onnx(GenreNetwork(front=front).eval(), out[name])
    weight = np.random.default_rng(9).normal(size=(16, 768))
    np.savez(directory / "layer.npz", weight=weight, bias=np.arange(16.0))
    join(out["long"], out["short"], out["world"], (weight, np.arange(16.0)), out["joined"])
    return out | {"layer": directory / "layer.npz"}


@pytest.mark.parametrize(
    ("frames", "answers_for"), [(13, "short"), (SHORT_FRAMES, "short"), (SHORT_FRAMES + 1, "long"), (431, "long")]
)
def test_the_length_decides_whose_logits_are_given(files: dict[str, Path], frames: int, answers_for: str) -> None:
    given = _answers(files["joined"], frames)
    assert given["logits"] == pytest.approx(_answers(files[answers_for], frames)["logits"], abs=1e-5)
    assert given["embedding"] == pytest.approx(_answers(files["long"], frames)["embedding"], abs=1e-5)


def test_world_logits_are_the_layer_on_both_embeddings(files: dict[str, Path]) -> None:
    both = [_answers(files[name], 100)["embedding"] for name in ("world", "short")]
    with np.load(files["layer"]) as layer:
        expected = np.concatenate(both, axis=1) @ layer["weight"].T + layer["bias"]
    assert _answers(files["joined"], 100)["world_logits"] == pytest.approx(expected, abs=1e-3)


def test_a_joined_network_is_not_joined_again(files: dict[str, Path], tmp_path: Path) -> None:
    layer = (np.zeros((16, 768)), np.zeros(16))
    with pytest.raises(ModelRefused, match="joined one already"):
        join(files["joined"], files["short"], files["world"], layer, tmp_path / "again.onnx")
