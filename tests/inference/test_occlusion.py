import numpy as np
import pytest

from ccmusic.errors import InvalidParameter
from ccmusic.genres import LABELS, LEAVES, WORLD
from ccmusic.inference.occlusion import BLOCKS, DRAWN_BLOCKS, ExplainPlan, Explanation, chosen_windows, quiet_copies
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.card_parts import Calibration
from ccmusic.models.store import locate
from support.bands_model import band_network, world_head, write_model, write_own_model
from support.pictures_model import write_mel_model, write_picture_model
from support.recordings import bin_frequency, tone, wav

WITHOUT = np.full((7, 10), 0.6)


def explanation(**lower: float) -> Explanation:
    """A window from 20 to 30 s; `lower` says for parts such as ``o1b3`` what is left without them."""
    without = WITHOUT.copy()
    for place, value in lower.items():
        octave, block = place[1:].split("b")
        without[int(octave), int(block)] = value
    return Explanation(2, 20.0, 30.0, "ccmusic", LEAVES[1], 0.6, without, np.zeros((84, 50), np.uint8))


@pytest.fixture(scope="module")
def pipeline(model_directory):
    return Pipeline.load(locate(str(model_directory)))


def test_each_copy_has_one_part_as_quiet_as_the_quietest_tenth():
    window = np.random.default_rng(1).uniform(-80, 0, (84, 87)).astype(np.float32)
    copies, shape = quiet_copies(window, 4)
    assert (shape, len(copies)) == ((7, 4), 28)
    changed = [copy != window for copy in copies]
    assert not np.any(np.sum(changed, axis=0) > 1)
    assert np.mean(np.sum(changed, axis=0)) == pytest.approx(0.9, abs=0.01)
    quiet = np.percentile(window, 10)
    octave, block = 3, 2
    assert copies[octave * 4 + block][36:48, 43:65].max() == pytest.approx(quiet, abs=1e-4)


def test_blocks_are_never_shorter_than_a_quarter_of_a_second():
    assert quiet_copies(np.zeros((84, 35), np.float32), BLOCKS)[1] == (7, 3)
    assert quiet_copies(np.zeros((84, 5), np.float32), BLOCKS)[1] == (7, 1)


def test_the_windows_with_the_highest_probability_are_explained_in_the_order_of_time():
    assert chosen_windows(np.array([0.1, 0.7, 0.3, 0.9]), ExplainPlan(windows=2)) == [1, 3]
    assert chosen_windows(np.array([0.1, 0.7]), ExplainPlan(window=0)) == [0]


def test_the_text_names_the_register_and_the_time():
    found = explanation(o1b2=0.2, o1b3=0.3)
    assert found.text() == "Opera: mostly the bass between 22 and 23 s"
    assert found.text("zh") == "歌剧 / 戏曲：主要依据是第 22 至 23 秒的低音"


def test_sustained_evidence_has_no_time():
    found = explanation(**{f"o6b{block}": 0.5 for block in range(10)})
    assert found.text() == "Opera: mostly the high notes throughout the window"


def test_no_part_is_named_without_enough_evidence():
    assert "no part decides" in explanation().text()
    assert "no part decides" in explanation(o3b3=0.59).text()
    assert "no part decides" in explanation(o0b1=0.45, o3b5=0.45, o6b2=0.45).text()
    assert "above all the middle" in explanation(o0b1=0.45, o3b5=0.4, o6b2=0.47).text()


def test_evidence_against_the_genre_is_not_a_reason():
    assert "no part decides" in explanation(o1b2=0.9).text()
    assert explanation(o1b2=0.9).evidence.min() < 0


def test_json_has_the_edges_of_every_part():
    answer = explanation(o1b2=0.2).as_json()
    assert (answer["genre"], answer["probability"]) == ("Opera", 0.6)
    assert answer["octave_hz"][0] == pytest.approx(32.7, abs=0.01)
    assert answer["octave_hz"][-1] == pytest.approx(32.7 * 128, rel=1e-3)
    assert answer["block_seconds"] == [float(second) for second in range(20, 31)]
    assert answer["without"][1][2] == 0.2


def test_a_tone_is_located_in_time_and_frequency(pipeline):
    # a second of a tone in the band of genre 2 over a lasting one in that of genre 9
    song = tone(bin_frequency(47), 2.0)
    song[22050:33075] += tone(bin_frequency(12), 0.5, 0.9)
    result = pipeline.classify(wav(0.5 * song), explain=ExplainPlan(window=0, genre=LABELS[2]))
    (found,) = result.explanations
    octave, block = np.unravel_index(int(found.evidence.argmax()), found.evidence.shape)
    assert octave == 1
    assert 0.9 < found.edges_seconds[block] + 0.1 < 1.6
    assert result.as_json()["windows"][0]["saliency"] == found.as_json()


def test_an_explanation_does_not_change_the_answer(pipeline):
    song = wav(tone(bin_frequency(12), 6.0))
    plain, explained = pipeline.classify(song), pipeline.classify(song, explain=ExplainPlan(windows=2))
    assert (explained.probabilities[16] == plain.probabilities[16]).all()
    assert len(explained.explanations) == 2
    assert explained.explanations[0].probability == explained.windows[explained.explanations[0].window].probabilities[2]


def test_an_explanation_speaks_of_the_requested_taxonomy(tmp_path):
    # a tone in the band of genre 2 is genre 13 of the head; each output has its own temperature
    warm = world_head(calibration=(Calibration(seconds=1.0, temperature=4.0),))
    network = band_network(world_scale=0.1)
    two_headed = Pipeline.load(locate(str(write_model(tmp_path, network, heads=(warm,)))))
    result = two_headed.classify(wav(tone(bin_frequency(12), 2.0)), explain=ExplainPlan(taxonomy="world"))
    (found,) = result.explanations
    world = result.under("world")
    assert (found.taxonomy, found.genre) == ("world", WORLD.genres()[13])
    assert found.probability == world.windows[0].probabilities[13]
    assert found.without[6] == pytest.approx(found.probability, abs=0.001)  # no sound there
    assert found.without[1].max() < found.probability - 0.005
    assert result.as_json(taxonomy="world")["windows"][0]["saliency"] == found.as_json()
    assert "saliency" not in result.as_json()["windows"][0]


def test_an_explanation_of_a_group_speaks_of_the_sum_of_its_genres(pipeline):
    song = wav(tone(bin_frequency(12), 2.0))
    result = pipeline.classify(song, explain=ExplainPlan(level=2))
    (found,) = result.explanations
    assert found.genre.label == "Classic"
    assert found.probability == pytest.approx(result.probabilities[2][0])
    assert found.text().startswith("Classical: mostly the bass")


def test_an_explanation_of_a_model_with_other_labels_speaks_of_those(tmp_path):
    own = Pipeline.load(locate(str(write_own_model(tmp_path))))
    (found,) = own.classify(wav(tone(bin_frequency(7), 2.0)), explain=ExplainPlan()).explanations
    assert (found.taxonomy, found.genre.label) == ("own", "middle")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (ExplainPlan(window=7), "window must be 1 to 3, not 8"),
        (ExplainPlan(window=-1), "window must be 1 to 3, not 0"),
        (ExplainPlan(genre="Polka"), "genre must be one of Symphony"),
        (ExplainPlan(genre="Symphony", level=2), "genre must be one of Classic, Non_classic, not 'Symphony'"),
        (ExplainPlan(level=4), "level must be one of 16, 9, 2, not 4"),
        (ExplainPlan(taxonomy="world"), "taxonomy must be ccmusic, not 'world'"),
    ],
)
def test_what_does_not_exist_is_refused(pipeline, plan, words):
    with pytest.raises(InvalidParameter, match=words):
        pipeline.classify(wav(tone(440, 5.0)), explain=plan)


def test_a_model_of_another_spectrogram_cannot_be_explained(tmp_path):
    mel = Pipeline.load(locate(str(write_mel_model(tmp_path / "mel"))))
    with pytest.raises(InvalidParameter, match="constant-Q"):
        mel.classify(wav(tone(440, 5.0)), explain=ExplainPlan())


def test_a_drawn_network_gets_fewer_parts(tmp_path):
    drawn = Pipeline.load(locate(str(write_picture_model(tmp_path / "drawn"))))
    (found,) = drawn.classify(wav(tone(440, 20.0)), explain=ExplainPlan(window=0)).explanations
    assert found.without.shape == (7, DRAWN_BLOCKS)
