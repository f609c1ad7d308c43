"""A checkpoint becomes a complete model directory, or none."""

from __future__ import annotations

import numpy as np
import pytest

from ccmusic.checkpoints import architectures, convert
from ccmusic.checkpoints.convert import import_checkpoint
from ccmusic.checkpoints.real_windows import real_windows, recordings
from ccmusic.errors import InvalidParameter, ModelFileNotFound, ModelRefused
from ccmusic.genres import LABELS
from ccmusic.inference.front_end import FrontEnd
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.card import read_card
from ccmusic.models.store import locate
from support.checkpoints import narrow_state, write_checkpoint, write_recordings
from support.recordings import tone, wav
from support.state_dict_file import write_state_dict


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    place = tmp_path_factory.mktemp("imported")
    audio = write_recordings(place / "audio")
    stages = []
    return import_checkpoint(
        write_checkpoint(place), place / "models" / "m", audio=audio, on_stage=stages.append
    ), stages


def test_the_card_describes_the_model(imported):
    made, _ = imported
    card = read_card(made.directory / "card.json")
    assert card == made.card
    assert (card.name, card.labels, card.placing) == ("vgg19-bn-cqt", LABELS, "upstream")
    assert (card.features.kind, card.drawing is not None, card.window_seconds) == ("cqt_db", True, 11.4)
    assert {network.precision for network in card.networks} >= {"float32", "int8"}
    assert card.metrics["max_logit_error"] == round(made.max_logit_error, 8) < 1e-3
    assert made.n_keys == len(narrow_state())
    assert made.n_parameters == sum(
        value.size for key, value in narrow_state().items() if not key.endswith(("_mean", "_var", "_tracked"))
    )


def test_agreement_is_measured_on_other_windows_than_those_that_calibrated(imported):
    audio = imported[0].directory.parent.parent / "audio"
    windows = real_windows(imported[0].card, recordings(audio), convert.N_WINDOWS)
    for network in imported[0].card.networks:
        if network.precision == "float32":
            assert network.agreement is None
        else:
            assert network.agreement.windows == len(windows) - len(windows) // 3
            assert network.agreement.milliseconds > 0


def test_each_stage_is_reported(imported):
    _, stages = imported
    assert stages[0] == "reading the checkpoint"
    assert "building vgg19_bn" in stages
    assert "measuring int8" in stages


def test_the_model_gives_the_probabilities_of_the_checkpoint(imported, tmp_path):
    made, _ = imported
    pipeline = Pipeline.load(locate(str(made.directory), "float32"))
    answer = pipeline.classify(wav(tone(440, 11.4)))
    front_end = FrontEnd(made.card)
    window = front_end.spectrogram_db(tone(440, 11.4))
    logits, _ = architectures.reference_logits("vgg19_bn", narrow_state(), front_end.network_input([window]), "numpy")
    odds = np.exp(logits[0] - logits[0].max())
    np.testing.assert_allclose(answer.probabilities[16], odds / odds.sum(), atol=1e-3)


def test_the_folder_or_the_caller_names_the_spectrogram(tmp_path):
    audio = write_recordings(tmp_path / "audio", 1)
    by_folder = import_checkpoint(write_checkpoint(tmp_path, "vgg19_bn_mel"), tmp_path / "a", audio=audio)
    elsewhere = write_state_dict(tmp_path / "other" / "save.pt", narrow_state())
    by_caller = import_checkpoint(elsewhere, tmp_path / "b", features="mel", audio=audio)
    assert by_folder.card.features.kind == by_caller.card.features.kind == "mel_db"
    with pytest.raises(InvalidParameter, match="features must be cqt or mel"):
        import_checkpoint(elsewhere, tmp_path / "c", audio=audio)


def test_the_same_checkpoint_gives_the_same_networks(imported, tmp_path):
    made, _ = imported
    place = made.directory.parent.parent
    again = import_checkpoint(place / "vgg19_bn_cqt" / "save.pt", tmp_path / "m", audio=place / "audio")
    hashes = [{n.precision: n.sha256 for n in card.networks} for card in (made.card, again.card)]
    assert hashes[0] == hashes[1]


def _without(key):
    state = narrow_state()
    del state[key]
    return state


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (_without("features.3.bias"), r"1 missing \('features.3.bias'\)"),
        (narrow_state() | {"features.0.bias": np.zeros(5, np.float32)}, r"'features.0.bias' is float32 \[5\], not"),
        (narrow_state() | {"features.0.bias": np.full(4, np.nan, np.float32)}, "NaN or infinity in 'features.0.bias'"),
        (narrow_state(n_labels=9), "distinguishes 9 classes, not the 16 of ccMusic"),
    ],
)
def test_a_checkpoint_that_fails_a_check_is_refused_and_leaves_no_files(tmp_path, state, message):
    path = write_state_dict(tmp_path / "vgg19_bn_cqt" / "save.pt", state)
    with pytest.raises(ModelRefused, match=message) as caught:
        import_checkpoint(path.parent, tmp_path / "models" / "m", audio=tmp_path)
    assert str(caught.value).startswith(str(path))
    assert not (tmp_path / "models").exists()


def test_a_missing_checkpoint(tmp_path):
    with pytest.raises(ModelFileNotFound, match=r"save\.pt"):
        import_checkpoint(tmp_path / "save.pt", tmp_path / "m")


def test_a_conversion_with_other_logits_is_refused(tmp_path, monkeypatch):
    build = architectures.build_onnx

    def build_wrong(name, state, n_labels):
        key = architectures.ARCHITECTURES[name].last_layer.replace("weight", "bias")
        return build(name, {**state, key: state[key] + 1}, n_labels)

    monkeypatch.setattr(architectures, "build_onnx", build_wrong)
    audio = write_recordings(tmp_path / "audio", 1)
    with pytest.raises(ModelRefused, match="logits differ by 1 from"):
        import_checkpoint(write_checkpoint(tmp_path), tmp_path / "models" / "m", audio=audio)
    assert not list(tmp_path.glob("models/*"))


def test_an_import_that_fails_midway_keeps_the_existing_directory(imported, tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "quantize", lambda *_: 1 / 0)
    place = tmp_path / "models"
    (place / "m").mkdir(parents=True)
    (place / "m" / "kept").touch()
    audio = write_recordings(tmp_path / "audio", 1)
    with pytest.raises(ZeroDivisionError):
        import_checkpoint(write_checkpoint(tmp_path), place / "m", audio=audio)
    assert [path.name for path in place.rglob("*")] == ["m", "kept"]


def test_an_import_needs_recordings_that_are_long_enough(tmp_path):
    checkpoint = write_checkpoint(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidParameter, match="import_audio has no recording"):
        import_checkpoint(checkpoint, tmp_path / "m", audio=tmp_path / "empty")
    short = write_recordings(tmp_path / "short", 1, seconds=3.0)
    with pytest.raises(InvalidParameter, match=r"no recording of at least 11\.4 s"):
        import_checkpoint(checkpoint, tmp_path / "m", audio=short)


def test_windows_that_calibrate_are_not_compared_unless_there_are_very_few():
    for n, (n_calibrating, n_compared) in {1: (1, 1), 2: (2, 2), 3: (1, 2), 30: (10, 20), 500: (64, 436)}.items():
        calibrating, compared = convert._split(np.arange(n))
        assert (len(calibrating), len(compared)) == (n_calibrating, n_compared)
        assert n < 3 or not set(calibrating) & set(compared)


def test_a_finished_directory_replaces_an_existing_one_completely(tmp_path):
    for name in ("old", "new"):
        building = tmp_path / f".building-{name}"
        building.mkdir()
        (building / name).touch()
        convert._replace_directory(building, tmp_path / "m")
        assert [path.name for path in tmp_path.rglob("*")] == ["m", name]
