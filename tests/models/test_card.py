import json

import pytest

from ccmusic.errors import ModelFileNotFound, ModelRefused
from ccmusic.models.card import Card, read_card
from ccmusic.models.card_parts import Calibration, Drawing, Features, Network
from ccmusic.models.store import EMBEDDED_DIRECTORY
from support.bands_model import world_head, write_own_model, write_world_model

HEAD = world_head().model_dump(mode="json")


@pytest.fixture
def card(model_directory):
    return read_card(model_directory / "card.json")


def test_round_trip(card, tmp_path):
    assert read_card(card.save(tmp_path)) == card


def test_a_card_with_a_second_output(tmp_path):
    card = read_card(write_world_model(tmp_path) / "card.json")
    assert [taxonomy.name for taxonomy in card.taxonomies] == ["ccmusic", "world"]
    assert card.heads[0].temperature(10.0) == 1.0
    assert read_card(card.save(tmp_path)) == card


def test_a_card_with_other_labels(tmp_path):
    card = read_card(write_own_model(tmp_path, ("low", "high")) / "card.json")
    assert [taxonomy.labels for taxonomy in card.taxonomies] == [("low", "high")]
    assert card.taxonomies[0].sizes == (2,)


def test_the_embedded_card_has_the_mix_of_its_training_set():
    card = read_card(EMBEDDED_DIRECTORY / "card.json")
    assert sum(card.reference_mix) == pytest.approx(1, abs=1e-3)


def test_temperature_is_interpolated_over_the_logarithm_of_the_length(card):
    card = card.model_copy(
        update={
            "calibration": (
                Calibration(seconds=1.0, temperature=1.0),
                Calibration(seconds=100.0, temperature=3.0),
            )
        }
    )
    assert [card.temperature(s) for s in (0.3, 1.0, 100.0, 500.0)] == [1.0, 1.0, 3.0, 3.0]
    assert card.temperature(10.0) == pytest.approx(2.0)


def test_cards_of_earlier_releases_are_accepted(tmp_path):
    card = read_card(write_world_model(tmp_path) / "card.json")
    old = json.loads(card.model_dump_json())
    old["calibration"] = old["heads"][0]["calibration"] = [{"window_seconds": 2.0, "temperature": 1.5}]
    old["training"]["commit"] = None
    old["features"] |= {"sample_rate": 22050, "fmin": 32.70319566257483, "top_db": 80.0}
    read = Card.model_validate(old)
    assert read.calibration == read.heads[0].calibration == (Calibration(seconds=2.0, temperature=1.5),)
    assert read.training == card.training
    assert read.features.kind == "cqt_db"


def test_a_missing_card_is_a_missing_file(tmp_path):
    with pytest.raises(ModelFileNotFound, match=r"card\.json"):
        read_card(tmp_path / "card.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "abc"}, "sha256"),
        ({"file": "../../etc/passwd"}, "file"),
        ({"labels": ["a", "a"]}, "labels must be distinct"),
        ({"window_seconds": 0}, "window_seconds"),
        ({"calibration": []}, "calibration"),
        ({"calibration": [{"window_seconds": 2, "temperature": 1}, {"window_seconds": 1, "temperature": 1}]}, "sorted"),
        ({"golden": [{"signal": "beat", "seconds": 1, "logits": [0.0]}]}, "1 logits for 16 labels"),
        ({"reference_mix": [0.5, 0.5]}, "reference_mix must be 16 shares that sum to 1"),
        ({"reference_mix": [0.1] * 16}, "reference_mix must be 16 shares that sum to 1"),
        ({"reference_mix": [2.0] + [-1 / 15] * 15}, "reference_mix"),
        ({"colour": "red"}, "colour"),
        ({"taxonomy": "world"}, "taxonomy"),
        ({"labels": ["a", ""]}, "labels.1"),
        ({"labels": ["a", "b\nc"]}, "labels.1"),
        ({"sure": {"9": 0.5, "4": 0.5}}, "sure must have the levels 16, 9, 2 or some of them"),
        ({"sure": {"9": 1.5}}, "sure.9"),
        ({"heads": [HEAD]}, "golden clip 'chords' must have logits for every label of every head"),
        ({"heads": [HEAD, HEAD]}, "heads must each have another taxonomy and output"),
        ({"heads": [HEAD | {"labels": ["a", "a"]}]}, "heads.0: .*labels must be distinct"),
        ({"heads": [HEAD | {"reference_mix": [0.5, 0.5]}]}, "heads.0: .*reference_mix must be 16 shares"),
        ({"heads": [HEAD | {"output": "no name"}]}, "heads.0.output"),
    ],
)
def test_an_impossible_card_is_refused_by_the_field(card, tmp_path, change, message):
    path = tmp_path / "card.json"
    path.write_text(json.dumps(card.model_dump(mode="json") | change))
    with pytest.raises(ModelRefused, match=message):
        read_card(path)


def test_a_file_that_is_not_a_card_is_refused(tmp_path):
    path = tmp_path / "card.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelRefused, match="cannot be read"):
        read_card(path)


def _network(card, **changes):
    return Network(**{name: getattr(card, name) for name in Network.model_fields} | changes)


def test_a_card_runs_in_any_of_its_precisions(card):
    int8 = _network(card, precision="int8", file="model.int8.onnx", sha256="0" * 64)
    both = card.model_copy(update={"alternatives": (int8,)})
    assert both.at(None) is both
    at_int8 = both.at("int8")
    assert (at_int8.file, at_int8.sha256, at_int8.precision) == ("model.int8.onnx", "0" * 64, "int8")
    assert [network.precision for network in at_int8.networks] == ["int8", "float32"]
    assert at_int8.at("float32") == both.at("float32") == both
    with pytest.raises(ModelRefused, match="no network in bfloat16, only in float32, int8: set CCMUSIC_PRECISION"):
        both.at("bfloat16")


def test_fields_that_no_answer_depends_on_make_no_other_model(card, tmp_path):
    descriptive = {"description": "other words", "licence": "CC0", "metrics": {"top1": 0.5}, "reference_mix": None}
    assert card.model_copy(update=descriptive).answer_hashes() == card.answer_hashes()
    assert card.model_copy(update={"golden": card.golden[:1]}).answer_hashes() == card.answer_hashes()
    head = world_head().model_copy(update={"notes": ()})
    world = read_card(write_world_model(tmp_path) / "card.json")
    assert world.model_copy(update={"heads": (head,)}).answer_hashes() == world.answer_hashes()


@pytest.mark.parametrize(
    "change",
    [
        {"labels": tuple(f"label {i}" for i in range(16))},
        {"calibration": (Calibration(seconds=1.0, temperature=2.0),)},
        {"sha256": "f" * 64},
        {"version": "0.0.2"},
        {"uncertain_below": 0.9},
        {"features": Features(kind="mel_db")},
        {"placing": "upstream"},
        {"heads": (world_head(),)},
    ],
)
def test_every_other_field_makes_another_model(card, change):
    before, after = card.answer_hashes(), card.model_copy(update=change).answer_hashes()
    assert {name for name in before if before[name] != after[name]} == set(change)


def test_a_card_with_a_further_precision_is_the_same_model(card):
    other = _network(card, precision="int8", sha256="f" * 64)
    both = card.model_copy(update={"alternatives": (other,)})
    assert both.answer_hashes() == card.answer_hashes()
    assert both.running(other).answer_hashes() != card.answer_hashes()
    assert both.running(other).running(card).answer_hashes() == card.answer_hashes()


def test_a_card_has_each_precision_at_most_once(card, tmp_path):
    path = tmp_path / "card.json"
    twice = card.model_dump(mode="json") | {"alternatives": [_network(card).model_dump(mode="json")]}
    path.write_text(json.dumps(twice))
    with pytest.raises(ModelRefused, match="alternatives must each have another precision"):
        read_card(path)


@pytest.mark.parametrize(
    ("kind", "drawing", "name"),
    [
        ("cqt_db", None, "cqt_db"),
        ("mel_db", None, "mel_db"),
        ("mel_db", Drawing(), "picture"),
    ],
)
def test_the_name_of_the_network_input(card, kind, drawing, name):
    assert card.model_copy(update={"features": Features(kind=kind), "drawing": drawing}).input_name == name
