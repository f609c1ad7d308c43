from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import ccmusic
from ccmusic.features.cqt import cqt_db
from ccmusic.models.card import CARD_NAME, MODEL_FILE, Card, read_card
from ccmusic.models.golden import SIGNALS
from ccmusic.models.store import EMBEDDED_DIRECTORY
from ccmusic.training.export import export_onnx, largest_difference, serving_network
from ccmusic.training.mel_front import MelFront
from ccmusic.training.model_card import write_card
from ccmusic.training.network import EMBEDDING_SIZE, GenreNetwork, Trunk
from support.genre_networks import untrained_network


@pytest.fixture(scope="module")
def network() -> GenreNetwork:
    return untrained_network(16, teacher_sizes={"tags": 5})


@pytest.mark.parametrize("frames", [13, 14, 44, 431, 1292])
def test_windows_of_any_length_give_logits_and_an_embedding(network: GenreNetwork, frames: int) -> None:
    with torch.inference_mode():
        logits, embedding = network(torch.full((2, 84, frames), -40.0))
        _, teachers = network.forward_training(torch.full((2, 84, frames), -40.0))
    assert logits.shape == (2, 16)
    assert embedding.shape == (2, EMBEDDING_SIZE)
    assert teachers["tags"].shape == (2, 5)
    assert torch.isfinite(logits).all()


def test_a_clip_has_the_same_logits_alone_and_in_a_batch(network: GenreNetwork) -> None:
    pictures = torch.rand(3, 84, 60, generator=torch.Generator().manual_seed(1)) * -80
    pictures[0, :40] = -80
    with torch.inference_mode():
        together, _ = network(pictures)
        alone, _ = network(pictures[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-2


def test_all_pretrained_convolutions_are_loaded(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = Trunk()
    path = tmp_path / "mn04.npz"
    arrays = {name: value.numpy() for name, value in source.state_dict().items() if "num_batches" not in name}
    np.savez(path, **arrays, check_logits=np.zeros(3))
    target = Trunk()
    target.load_mn04(path)
    picture = torch.rand(1, 1, 128, 50)
    with torch.inference_mode():
        torch.testing.assert_close(target.eval()(picture), source.eval()(picture))


def test_pretrained_convolutions_leave_the_mel_map_as_it_is(tmp_path: Path) -> None:
    path, network = tmp_path / "mn04.npz", GenreNetwork(front="mel")
    np.savez(path, **{name: value.numpy() + 1 for name, value in Trunk().state_dict().items() if "num_" not in name})
    before = network.trunk.front.bands.weight.clone()
    network.trunk.load_mn04(path)
    assert (network.trunk.features[0][1].weight == 2).all()
    assert torch.equal(network.trunk.front.bands.weight, before)


def test_the_mel_map_doubles_frames_by_linear_interpolation() -> None:
    front = MelFront()
    picture = torch.rand(2, 84, 17)
    with torch.inference_mode():
        expected = torch.nn.functional.interpolate(front.bands(picture), scale_factor=2.0, mode="linear")
        torch.testing.assert_close(front(picture), expected)


def test_missing_pretrained_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mn04.npz"
    np.savez(path, **{"features.0.0.weight": np.zeros((8, 1, 3, 3), dtype=np.float32)})
    with pytest.raises(RuntimeError, match="Missing key"):
        Trunk().load_mn04(path)


@pytest.fixture(scope="module")
def exported(network: GenreNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(serving_network(network, (2, 1)), path)
    return path


def test_the_exported_network_equals_torch_at_every_length(network: GenreNetwork, exported: Path) -> None:
    served = serving_network(network, (2, 1))
    assert largest_difference(served, exported) < 1e-4
    with torch.no_grad():
        served.trunk.features[3].block[1][0].weight[0] += 0.05  # the check must find a small change deep inside
    assert largest_difference(served, exported) > 1e-4
    assert exported.stat().st_size < 12e6


def test_exported_files_are_equal_and_contain_no_paths(
    small_export: tuple[GenreNetwork, Path], exported: Path, tmp_path: Path
) -> None:
    network, once = small_export
    export_onnx(network, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == once.read_bytes()
    for file in (exported, once):
        assert str(Path(ccmusic.__file__).parent).encode() not in file.read_bytes()


def test_golden_logits_are_those_of_the_network_for_the_signals(
    network: GenreNetwork, exported: Path, tmp_path: Path
) -> None:
    like = read_card(EMBEDDED_DIRECTORY / CARD_NAME)
    left_out = {"file", "sha256", "golden", "heads"}
    fields = {name: getattr(like, name) for name in Card.model_fields if name not in left_out}
    (tmp_path / MODEL_FILE).write_bytes(exported.read_bytes())
    clips = write_card(tmp_path, **fields).golden
    assert [(clip.signal, clip.seconds) for clip in clips] == [(name, s) for s in (10.0, 1.0) for name in SIGNALS]
    assert read_card(tmp_path / CARD_NAME).golden == clips
    for clip in clips:
        with torch.inference_mode():
            expected, _ = network(torch.from_numpy(cqt_db(SIGNALS[clip.signal](clip.seconds)))[None])
        np.testing.assert_allclose(clip.logits, expected[0].numpy(), atol=1e-4)
    assert np.ptp([clip.logits for clip in clips], axis=0).max() > 1e-2
