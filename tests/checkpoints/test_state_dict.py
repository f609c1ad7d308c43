"""The state_dict of a checkpoint: read, recognised by name and keys, and checked key by key."""

from __future__ import annotations

import numpy as np
import pytest

from ccmusic.checkpoints.architectures import CHECKPOINTS, build_onnx, manifest
from ccmusic.checkpoints.state_dict import check, read_state_dict, recognise
from ccmusic.errors import InvalidParameter, ModelFileNotFound, ModelRefused
from support.checkpoints import WIDTH, narrow_state
from support.state_dict_file import (
    complete_pickle,
    dictionary,
    integer,
    pickled_tensors,
    write_archive,
    write_state_dict,
)

# Reading


def test_a_file_and_its_folder_give_the_same_state_dict(tmp_path):
    path = write_state_dict(tmp_path / "vgg19_bn_cqt" / "save.pt", {"x": np.ones(3, np.float32)})
    assert read_state_dict(path)["x"].tolist() == read_state_dict(path.parent)["x"].tolist() == [1, 1, 1]
    with pytest.raises(ModelFileNotFound, match=r"save\.pt"):
        read_state_dict(tmp_path / "save.pt")


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_a_wrapped_state_dict_is_unwrapped(tmp_path, wrapper):
    entries, storages = pickled_tensors({"module.x": np.ones(3, np.float32)})
    pickled = complete_pickle(dictionary({"epoch": integer(3), wrapper: dictionary(entries)}))
    assert read_state_dict(write_archive(tmp_path / "save.pt", pickled, storages)).keys() == {"x"}


def test_the_prefix_module_is_removed_only_if_every_key_has_it(tmp_path):
    keys = {"module.x": np.ones(3, np.float32), "y": np.ones(3, np.float32)}
    assert read_state_dict(write_state_dict(tmp_path / "save.pt", keys)).keys() == keys.keys()


def test_names_of_older_torchvisions_become_the_present_ones(tmp_path):
    one = np.ones(3, np.float32)
    block = "encoder.layers.encoder_layer_0.mlp"
    state = {f"{block}.linear_1.weight": one, f"{block}.linear_2.weight": one}
    path = write_state_dict(tmp_path / "save.pt", state)
    assert read_state_dict(path).keys() == {f"{block}.0.weight", f"{block}.3.weight"}
    with pytest.raises(ModelRefused, match="under an old and a new name"):
        read_state_dict(write_state_dict(path, state | {f"{block}.0.weight": one}))


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (dictionary({}), "an empty dictionary, not a state_dict"),
        (integer(3), "a single int, not a state_dict"),
        (dictionary({"x": integer(3)}), "x beside parameters"),
    ],
)
def test_other_content_than_a_state_dict_is_refused(tmp_path, pickled, message):
    path = write_archive(tmp_path / "save.pt", complete_pickle(pickled), {})
    with pytest.raises(ModelRefused, match=message) as caught:
        read_state_dict(path)
    assert "save it again with torch.save(model.state_dict(), ...)" in str(caught.value)


# Recognising


@pytest.mark.parametrize(
    "name",
    [
        "vgg19_bn_cqt/save.pt",
        "vgg19_bn_cqt_16cls_2024-05-01_12-00-00/save.pt",
        "anything/vgg19_bn_cqt.pt",
        "vgg19_bn_cqt/vgg19_bn_cqt.pt",
    ],
)
def test_a_checkpoint_is_recognised_by_its_name(tmp_path, name):
    checkpoint = recognise(tmp_path / name, narrow_state(n_labels=9))
    assert (checkpoint.backbone, checkpoint.spectrogram, checkpoint.name) == ("vgg19_bn", "cqt", "vgg19_bn_cqt")
    assert (checkpoint.n_labels, checkpoint.width, checkpoint.path) == (9, WIDTH, tmp_path / name)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_published_checkpoint_is_read_recognised_and_accepted(tmp_path, name):
    backbone, spectrogram = CHECKPOINTS[name]
    state = read_state_dict(write_state_dict(tmp_path / name / "save.pt", narrow_state(backbone)))
    checkpoint = recognise(tmp_path / name, state)
    assert (checkpoint.backbone, checkpoint.spectrogram, checkpoint.name) == (backbone, spectrogram, name)
    assert (checkpoint.n_labels, checkpoint.width, checkpoint.path) == (16, WIDTH, tmp_path / name / "save.pt")
    check(state, manifest(backbone, checkpoint.n_labels, checkpoint.width))


@pytest.mark.parametrize("name", ["elsewhere/save.pt", "vgg19_bn_cqt_old/save.pt", "my_vgg19_bn_cqt/save.pt"])
def test_under_another_name_the_keys_show_the_backbone_and_the_caller_names_the_spectrogram(tmp_path, name):
    assert recognise(tmp_path / name, narrow_state(), features="mel").name == "vgg19_bn_mel"
    with pytest.raises(InvalidParameter, match=r"features must be cqt or mel for .*the keys do not show"):
        recognise(tmp_path / name, narrow_state())


def test_a_contradiction_of_the_name_is_refused(tmp_path):
    path = tmp_path / "vgg19_bn_cqt" / "save.pt"
    with pytest.raises(InvalidParameter, match="features must be cqt, as the name vgg19_bn_cqt says, not mel"):
        recognise(path, narrow_state(), features="mel")
    with pytest.raises(InvalidParameter, match="features must be one of cqt, mel, not 'chroma'"):
        recognise(path, narrow_state(), features="chroma")
    with pytest.raises(ModelRefused, match="named swin_b_mel, but its keys are those of vgg19_bn"):
        recognise(tmp_path / "swin_b_mel" / "save.pt", narrow_state())
    with pytest.raises(ModelRefused, match="its folder and its file are named for different checkpoints"):
        recognise(tmp_path / "vgg19_bn_cqt" / "swin_b_mel.pt", narrow_state())


def test_keys_of_an_unknown_backbone_are_refused(tmp_path):
    state = {f"layer{i}.weight": np.zeros(3, np.float32) for i in range(9)}
    with pytest.raises(ModelRefused, match=r"its keys \('layer0.weight', .* and 6 more\) belong to no known backbone"):
        recognise(tmp_path / "vgg19_bn_cqt" / "save.pt", state)


def test_a_backbone_with_another_head_is_refused(tmp_path):
    state = narrow_state()
    del state["classifier.9.weight"]
    with pytest.raises(ModelRefused, match=r"it has no matrix 'classifier\.9\.weight'"):
        recognise(tmp_path / "vgg19_bn_cqt" / "save.pt", state)


# Checking


@pytest.mark.parametrize(("backbone", "unused"), [("inception_v3", "AuxLogits."), ("vgg19_bn", "num_batches_tracked")])
def test_parameters_that_only_training_uses_may_be_missing_but_not_wrong(backbone, unused):
    state, expected = narrow_state(backbone), manifest(backbone, 16, WIDTH)
    keys = [key for key in state if unused in key]
    check({key: value for key, value in state.items() if key not in keys}, expected)
    state[keys[0]] = np.zeros((7, 7), np.float32)
    with pytest.raises(ModelRefused, match=rf"1 of another shape or type \('{keys[0]}'"):
        check(state, expected)


def test_other_position_indices_of_a_window_are_refused():
    state = narrow_state("swin_b")
    key = "features.5.3.attn.relative_position_index"
    state[key] = state[key][::-1].copy()
    with pytest.raises(ModelRefused, match=rf"'{key}' differs from this architecture's"):
        check(state, manifest("swin_b", 16, WIDTH))
    with pytest.raises(ModelRefused, match=rf"'{key}' differs from this architecture's"):
        build_onnx("swin_b", state, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("features.0.bias"), r"1 missing \('features.0.bias'\)"),
        (
            lambda state: [
                state.pop(f"features.1.{leaf}") for leaf in ("weight", "bias", "running_mean", "running_var")
            ],
            r"4 missing \('features.1.weight', 'features.1.bias', 'features.1.running_mean' and 1 more\)",
        ),
        (lambda state: state.update(extra=np.zeros(1, np.float32)), r"1 unexpected \('extra'\)"),
        (
            lambda state: state.update({"features.0.bias": np.zeros(5, np.float32)}),
            r"1 of another shape or type \('features.0.bias' is float32 \[5\], not float32 \[4\]\)",
        ),
        (lambda state: state.update({"features.0.bias": np.zeros(4, np.int64)}), r"is int64 \[4\], not float32 \[4\]"),
        (
            lambda state: state.update(extra=state.pop("features.0.bias")),
            r"1 missing \('features.0.bias'\); 1 unexpected \('extra'\): it is another network",
        ),
        (lambda state: state["features.0.bias"].fill(np.nan), "NaN or infinity in 'features.0.bias'"),
        (lambda state: state["features.0.weight"].put(7, -np.inf), "NaN or infinity in 'features.0.weight'"),
    ],
)
def test_every_difference_is_named(change, message):
    state = narrow_state()
    change(state)
    with pytest.raises(ModelRefused, match=message):
        check(state, manifest("vgg19_bn", 16, WIDTH))
