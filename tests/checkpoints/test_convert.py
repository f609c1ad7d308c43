"""A checkpoint becomes a model directory, whole or not at all."""

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


def test_the_card_says_what_it_is(imported):
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


def test_agreement_is_measured_on_real_windows_that_did_not_calibrate(imported):
    audio = imported[0].directory.parent.parent / "audio"
    windows = real_windows(imported[0].card, recordings(audio), convert.N_WINDOWS)
    for network in imported[0].card.networks:
        if network.precision == "float32":
            assert network.agreement is None
        else:
            assert network.agreement.windows == len(windows) - len(windows) // 3
            assert network.agreement.milliseconds > 0


def test_stages_are_told(imported):
    _, stages = imported
    assert stages[0] == "reading the checkpoint"
    assert "building vgg19_bn" in stages
    assert "measuring int8" in stages


def test_it_answers_as_the_checkpoint_itself(imported, tmp_path):
    made, _ = imported
    pipeline = Pipeline.load(locate(str(made.directory), "float32"))
    answer = pipeline.classify(wav(tone(440, 11.4)))
    front_end = FrontEnd(made.card)
    window = front_end.spectrogram_db(tone(440, 11.4))
    logits, _ = architectures.reference_logits("vgg19_bn", narrow_state(), front_end.network_input([window]), "numpy")
    odds = np.exp(logits[0] - logits[0].max())
    np.testing.assert_allclose(answer.probabilities[16], odds / odds.sum(), atol=1e-3)


def test_mel_is_told_by_the_folder_or_by_the_caller(tmp_path):
    audio = write_recordings(tmp_path / "audio", 1)
    by_folder = import_checkpoint(write_checkpoint(tmp_path, "vgg19_bn_mel"), tmp_path / "a", audio=audio)
    elsewhere = write_state_dict(tmp_path / "other" / "save.pt", narrow_state())
    by_caller = import_checkpoint(elsewhere, tmp_path / "b", features="mel", audio=audio)
    assert by_folder.card.features.kind == by_caller.card.features.kind == "mel_db"
    with pytest.raises(InvalidParameter, match="features must be cqt or mel"):
        import_checkpoint(elsewhere, tmp_path / "c", audio=audio)


def test_the_same_checkpoint_makes_the_same_networks(imported, tmp_path):
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
        (narrow_state(n_labels=9), "tells 9 classes apart, not the 16 of ccMusic"),
    ],
)
def test_what_is_not_whole_is_refused_and_leaves_nothing(tmp_path, state, message):
    path = write_state_dict(tmp_path / "vgg19_bn_cqt" / "save.pt", state)
    with pytest.raises(ModelRefused, match=message) as caught:
        import_checkpoint(path.parent, tmp_path / "models" / "m", audio=tmp_path)
    assert str(caught.value).startswith(str(path))
    assert not (tmp_path / "models").exists()


def test_no_checkpoint(tmp_path):
    with pytest.raises(ModelFileNotFound, match=r"save\.pt"):
        import_checkpoint(tmp_path / "save.pt", tmp_path / "m")


def test_a_conversion_that_answers_otherwise_is_refused(tmp_path, monkeypatch):
    build = architectures.build_onnx

    def off(name, state, n_labels):
        key = architectures.ARCHITECTURES[name].last_layer.replace("weight", "bias")
        return build(name, {**state, key: state[key] + 1}, n_labels)

    monkeypatch.setattr(architectures, "build_onnx", off)
    audio = write_recordings(tmp_path / "audio", 1)
    with pytest.raises(ModelRefused, match="logits are off by 1 from"):
        import_checkpoint(write_checkpoint(tmp_path), tmp_path / "models" / "m", audio=audio)
    assert not list(tmp_path.glob("models/*"))


def test_one_that_fails_midway_leaves_what_was_there(imported, tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "quantize", lambda *_: 1 / 0)
    place = tmp_path / "models"
    (place / "m").mkdir(parents=True)
    (place / "m" / "kept").touch()
    audio = write_recordings(tmp_path / "audio", 1)
    with pytest.raises(ZeroDivisionError):
        import_checkpoint(write_checkpoint(tmp_path), place / "m", audio=audio)
    assert [path.name for path in place.rglob("*")] == ["m", "kept"]


def test_recordings_are_needed(tmp_path):
    checkpoint = write_checkpoint(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidParameter, match="import_audio has no recording"):
        import_checkpoint(checkpoint, tmp_path / "m", audio=tmp_path / "empty")
    short = write_recordings(tmp_path / "short", 1, seconds=3.0)
    with pytest.raises(InvalidParameter, match=r"no recording of at least 11\.4 s"):
        import_checkpoint(checkpoint, tmp_path / "m", audio=short)
