from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ccmusic.errors import ModelRefused
from ccmusic.training import joined_graph
from ccmusic.training.joined_graph import SHORT_FRAMES, NetworkGroup, join_networks

pytest.importorskip("torch")


def _outputs(path: Path, frames: int) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(frames).uniform(-80, 0, size=(2, 84, frames)).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"cqt_db": picture}), strict=True))


@pytest.fixture(scope="module")
def groups(
    small_export: tuple[object, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[NetworkGroup, NetworkGroup]:
    """Two untrained networks for recordings and one for short sounds, with layers for two outputs."""
    from ccmusic.training.export import export_onnx
    from support.genre_networks import few_blocks, untrained_network

    directory, generator = tmp_path_factory.mktemp("join"), np.random.default_rng(9)
    files = [small_export[1], directory / "1.onnx", directory / "2.onnx"]
    for seed, front in ((1, "mel"), (2, "cqt")):
        with few_blocks():
            export_onnx(untrained_network(seed, front=front), files[seed])

    def layers(size: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        names = ("logits", "world_logits")
        return {name: (generator.normal(size=(16, size)) / size, generator.normal(size=16)) for name in names}

    return NetworkGroup(files[:2], layers(768)), NetworkGroup(files[2:], layers(384))


@pytest.fixture(scope="module")
def joined(groups: tuple[NetworkGroup, NetworkGroup], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("joined") / "model.onnx"
    join_networks(*groups, path)
    return path


@pytest.mark.parametrize(("frames", "which"), [(13, 1), (SHORT_FRAMES, 1), (SHORT_FRAMES + 1, 0), (431, 0)])
def test_the_length_of_the_window_selects_the_networks(
    groups: tuple[NetworkGroup, NetworkGroup], joined: Path, frames: int, which: int
) -> None:
    given, group = _outputs(joined, frames), groups[which]
    embedding = np.concatenate([_outputs(file, frames)["embedding"] for file in group.networks], axis=1)
    for output, (weight, bias) in group.layers.items():
        assert given[output] == pytest.approx(embedding @ weight.T + bias, abs=1e-4)


def test_the_embedding_is_always_that_of_the_networks_for_recordings(
    groups: tuple[NetworkGroup, NetworkGroup], joined: Path
) -> None:
    for frames in (13, 431):
        expected = np.concatenate([_outputs(file, frames)["embedding"] for file in groups[0].networks], axis=1)
        assert _outputs(joined, frames)["embedding"] == pytest.approx(expected, abs=1e-4)


def test_a_graph_that_differs_from_its_parts_is_refused(
    groups: tuple[NetworkGroup, NetworkGroup], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings, short = groups
    monkeypatch.setattr(joined_graph, "largest_difference", lambda *_: 0.5)
    with pytest.raises(ModelRefused, match=r"differ by 0\.5"):
        join_networks(recordings, short, tmp_path / "model.onnx")
