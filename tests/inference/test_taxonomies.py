"""Models of other label sets, and networks that name the same recording by two."""

import pickle

import numpy as np
import pytest
from onnx import load_model_from_string

from ccmusic.errors import InvalidParameter, ModelRefused
from ccmusic.features import cqt
from ccmusic.genres import CCMUSIC, LABELS, WORLD
from ccmusic.inference.onnx_runtime import OnnxBackend
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.card import read_card
from ccmusic.models.card_parts import Calibration
from ccmusic.models.golden import SIGNALS
from ccmusic.models.store import EMBEDDED_DIRECTORY, locate
from support.bands_model import (
    NOTHING_IS_ODD,
    band_network,
    golden_clips,
    world_head,
    write_model,
    write_own_model,
    write_world_model,
)
from support.recordings import bin_frequency, tone, wav

IN_BAND_3 = wav(tone(bin_frequency(17), 5.0))


def load(directory) -> Pipeline:
    return Pipeline.load(locate(str(directory)))


@pytest.fixture(scope="module")
def two_headed(tmp_path_factory):
    return load(write_world_model(tmp_path_factory.mktemp("model")))


def test_one_recording_has_an_answer_in_each_taxonomy(two_headed):
    result = two_headed.classify(IN_BAND_3)
    assert result.taxonomies == (CCMUSIC, WORLD)
    assert result.predictions()[0].genre == LABELS[3]
    world = result.under("world")
    assert world.taxonomy is WORLD
    assert world.predictions()[0].genre == WORLD.labels[15 - 3]
    assert len(world.windows) == len(result.windows) == 3
    assert [int(window.probabilities.argmax()) for window in world.windows] == [12] * 3
    assert world.probabilities[16].sum() == pytest.approx(1.0)
    assert result.under("ccmusic") is result.under(None) is result


def test_another_taxonomy_in_json(two_headed):
    answer = two_headed.classify(IN_BAND_3).as_json(taxonomy="world", top_k=2)
    assert (answer["taxonomy"], answer["level"], list(answer["levels"])) == ("world", 16, ["16"])
    assert answer["predictions"][0]["label_zh"] == WORLD.levels[0][12].label_zh
    assert len(answer["windows"][0]["predictions"]) == 2
    assert len(answer["levels"]["16"]) == 16


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"taxonomy": "jazz"}, "taxonomy must be one of ccmusic, world, not 'jazz'"),
        ({"taxonomy": "world", "level": 9}, "level must be 16, not 9"),
        ({"level": 4}, "level must be one of 16, 9, 2, not 4"),
    ],
)
def test_an_unknown_taxonomy_is_refused_with_the_offered_names(two_headed, asked, message):
    with pytest.raises(InvalidParameter, match=message):
        two_headed.classify(IN_BAND_3).as_json(**asked)


def test_the_error_of_a_model_with_one_taxonomy_names_it(model_directory):
    with pytest.raises(InvalidParameter, match="taxonomy must be ccmusic, not 'world'"):
        load(model_directory).classify(IN_BAND_3).as_json(taxonomy="world")


def test_each_taxonomy_has_its_own_uncertain_flag(tmp_path):
    pipeline = load(write_model(tmp_path, band_network(world_scale=0.001), heads=(world_head(),), odd=NOTHING_IS_ODD))
    result = pipeline.classify(IN_BAND_3)
    assert result.flags == ()
    assert result.under("world").flags == ("uncertain",)  # logits a hundredth as far apart


def test_silence_is_flagged_in_each_taxonomy(two_headed):
    silence = two_headed.classify(wav(np.zeros(44100, np.float32)))
    assert silence.flags == silence.under("world").flags == ("silence", "uncertain")


def test_a_head_has_its_own_temperatures(tmp_path):
    warm = world_head(calibration=(Calibration(seconds=1.0, temperature=4.0),))
    pipeline = load(write_model(tmp_path, band_network(world_scale=0.4), heads=(warm,)))
    result = pipeline.classify(IN_BAND_3)
    assert result.under("world").probabilities[16] == pytest.approx(result.probabilities[16][::-1], abs=1e-6)


def test_the_first_output_has_the_same_bits_with_and_without_the_second():
    network = band_network(world_scale=0.3)
    windows = np.stack([cqt.cqt_db(signal(2.0)) for signal in SIGNALS.values()])
    alone = OnnxBackend(network, 16).logits(windows)
    both = OnnxBackend(network, 16, heads={"world_logits": 16})
    assert both.logits(windows).tobytes() == both.all_logits(windows)[0].tobytes() == alone.tobytes()


def test_the_first_output_of_the_embedded_network_has_the_same_bits_with_and_without_the_second():
    network = (EMBEDDED_DIRECTORY / "model.onnx").read_bytes()
    widths = {
        node.name: node.type.tensor_type.shape.dim[-1].dim_value
        for node in load_model_from_string(network).graph.output
    }
    windows = np.stack([cqt.cqt_db(signal(5.0)) for signal in SIGNALS.values()])
    others = {name: width for name, width in widths.items() if name != "logits"}
    assert others
    alone = OnnxBackend(network, 16).logits(windows)
    assert OnnxBackend(network, 16, heads=others).all_logits(windows)[0].tobytes() == alone.tobytes()


def test_a_card_with_an_output_that_the_network_lacks_is_refused(tmp_path):
    heads = (world_head(),)
    golden = golden_clips(band_network(world_scale=0.1), heads=heads)
    directory = write_model(tmp_path, band_network(), heads=heads, golden=golden)
    with pytest.raises(ModelRefused, match=r"outputs \['logits'\]; expected .* an output 'world_logits'"):
        load(directory)


def test_a_wrong_answer_of_a_head_is_found_by_the_golden_clips(tmp_path):
    right = golden_clips(band_network(world_scale=0.1), heads=(world_head(),))
    directory = write_model(tmp_path, band_network(world_scale=0.2), heads=(world_head(),), golden=right)
    with pytest.raises(ModelRefused, match="golden clip 'chords' of 2 s: world_logits off by"):
        load(directory)


def test_the_canary_check_covers_every_output(two_headed, tmp_path):
    other = load(write_model(tmp_path, band_network(world_scale=0.2), heads=(world_head(),)))
    assert other.canary() != two_headed.canary()
    assert other.verify() != two_headed.verify()


def test_permuted_labels_of_a_head_are_refused(tmp_path):
    permuted = world_head(labels=(WORLD.labels[1], WORLD.labels[0], *WORLD.labels[2:]))
    directory = write_model(tmp_path, band_network(world_scale=0.1), heads=(permuted,))
    with pytest.raises(ModelRefused, match="labels of the head 'world' are not its 16 genres in their order"):
        load(directory)


def test_a_model_with_other_labels(tmp_path):
    pipeline = load(write_own_model(tmp_path))
    answer = pipeline.classify(wav(tone(bin_frequency(7), 5.0))).as_json()
    assert (answer["taxonomy"], answer["level"], list(answer["levels"])) == ("own", 3, ["3"])
    assert answer["predictions"][0]["genre"] == "middle"
    assert len(answer["predictions"]) == 3
    assert answer["predictions"][0]["label_zh"] == "middle"


def test_other_labels_under_the_ccmusic_taxonomy_are_refused(tmp_path):
    directory = write_own_model(tmp_path)
    read_card(directory / "card.json").model_copy(update={"taxonomy": "ccmusic"}).save(directory)
    with pytest.raises(ModelRefused, match="not the 16 ccMusic genres in their order; other labels need"):
        load(directory)


def test_an_answer_can_be_pickled_with_its_taxonomy(tmp_path):
    own = load(write_own_model(tmp_path)).classify(IN_BAND_3)
    sent = pickle.loads(pickle.dumps(own))
    assert sent.as_json() == own.as_json()


@pytest.mark.parametrize(
    ("sure", "expected"),
    [
        ({"16": 0.1, "9": 0.1, "2": 0.1}, 16),
        ({"16": 1.0, "9": 1.0, "2": 0.1}, 2),
        ({"16": 1.0, "9": 0.1}, 9),
        ({"16": 1.0, "9": 1.0, "2": 1.0}, None),
    ],
)
def test_sure_level_is_the_finest_level_that_reaches_its_threshold(tmp_path, sure, expected):
    answer = (
        load(write_model(tmp_path, band_network(scale=0.05), sure=sure, odd=NOTHING_IS_ODD))
        .classify(IN_BAND_3)
        .as_json()
    )
    assert answer["sure_level"] == expected


@pytest.mark.parametrize("odd", [wav(np.zeros(44100, np.float32)), IN_BAND_3])
def test_non_music_has_no_sure_level(tmp_path, odd):
    pipeline = load(write_model(tmp_path, sure={"2": 0.0}))
    assert pipeline.classify(odd).as_json()["sure_level"] is None


def test_without_thresholds_there_is_no_sure_level(two_headed):
    answer = two_headed.classify(IN_BAND_3).as_json()
    assert "sure_level" not in answer
