import re

import numpy as np
import pytest

from ccmusic.audio import waveform
from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import ModelRefused
from ccmusic.features import image, spectrogram
from ccmusic.features.cqt import FRAMES_PER_SECOND
from ccmusic.features.image import network_picture
from ccmusic.inference.front_end import DRAWING, SPECTROGRAMS, FrontEnd
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models import golden
from ccmusic.models.card import Card, read_card
from ccmusic.models.card_parts import Features
from ccmusic.models.store import locate
from support.pictures_model import write_mel_model, write_picture_model
from support.recordings import bin_frequency, tone, wav


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return write_picture_model(tmp_path_factory.mktemp("models") / "drawn")


@pytest.fixture(scope="module")
def pipeline(drawn):
    return Pipeline.load(locate(str(drawn)))


def test_rooms_that_may_not_import_each_other_have_the_same_sample_rate():
    assert waveform.SAMPLE_RATE == spectrogram.SAMPLE_RATE == golden.SAMPLE_RATE


@pytest.mark.parametrize("genre", [1, 8, 14])
def test_a_tone_is_a_line_in_the_picture_at_its_height(pipeline, genre):
    # 84 bins over 16 stripes: the middle of a stripe
    result = pipeline.classify(wav(tone(bin_frequency(int(84 * (genre + 0.5) / 16)), 12.0)))
    assert result.probabilities[16].argmax() == genre


def test_windows_are_at_upstream_positions(pipeline):
    seconds = 30.0
    windows = pipeline.classify(wav(tone(440, seconds))).windows
    frames = 1 + int(seconds * FRAMES_PER_SECOND)
    step = int(11.4 * frames / seconds)
    begin = int(0.5 * (frames - 2 * step))
    starts = [begin / FRAMES_PER_SECOND, (begin + step) / FRAMES_PER_SECOND]
    assert [w.start_seconds for w in windows] == pytest.approx(starts)
    assert windows[-1].end_seconds == pytest.approx((begin + 2 * step) / FRAMES_PER_SECOND)


def test_the_requested_number_of_windows(pipeline):
    assert len(pipeline.classify(wav(tone(440, 30.0)), WindowPlan(count=5)).windows) == 5


@pytest.mark.parametrize("seconds", [0.3, 1.0, 11.3])
def test_a_shorter_recording_is_one_stretched_window(pipeline, seconds):
    result = pipeline.classify(wav(tone(bin_frequency(42), seconds)))
    assert len(result.windows) == 1
    assert result.probabilities[16].argmax() == 8


def test_the_input_of_a_drawn_network_is_the_drawing_of_the_window(drawn):
    front_end = FrontEnd(read_card(drawn / "card.json"))
    spectrogram_db = front_end.spectrogram_db(tone(440, 25.0))
    places = front_end.places(spectrogram_db.shape[1], 25.0, None)
    windows = [spectrogram_db[:, start:end] for start, end in places]
    pictures = front_end.network_input(windows)
    assert pictures.shape == (2, 3, 224, 224)
    assert np.array_equal(pictures[1], network_picture(windows[1]))


def test_the_image_for_people_is_always_the_cqt(tmp_path):
    pipeline = Pipeline.load(locate(str(write_mel_model(tmp_path / "mel"))))
    result = pipeline.classify(wav(tone(bin_frequency(40), 12.0)), spectrogram=True)
    assert result.spectrogram_db.shape[0] == 84
    assert set(result.spectrogram_db.argmax(axis=0)) == {40}
    assert result.timings["features"] > 0


def test_a_high_tone_is_high_in_the_mel_spectrogram(tmp_path):
    pipeline = Pipeline.load(locate(str(write_mel_model(tmp_path / "mel"))))
    low, high = (pipeline.classify(wav(tone(f, 12.0))).probabilities[16].argmax() for f in (200, 5200))
    assert (low, high) == (0, 12)


def test_a_drawn_mel_spectrogram(tmp_path):
    pipeline = Pipeline.load(locate(str(write_picture_model(tmp_path / "m", Features(kind="mel_db")))))
    assert pipeline.classify(wav(tone(5200, 12.0))).probabilities[16].argmax() == 12


def _card(drawn, **changes) -> Card:
    card = read_card(drawn / "card.json")
    return Card.model_validate(card.model_dump(mode="json") | changes)


PARAMETERS = [("features", kind, name) for kind, row in SPECTROGRAMS.items() for name in row.parameters]
PARAMETERS += [("drawing", "cqt_db", name) for name in DRAWING]


@pytest.mark.parametrize(("part", "kind", "name"), PARAMETERS)
def test_each_parameter_of_a_card_is_followed_or_refused(drawn, part, kind, name):
    followed = DRAWING[name] if part == "drawing" else SPECTROGRAMS[kind].parameters[name]
    other = [1, 1] if isinstance(followed, list) else "viridis" if isinstance(followed, str) else followed + 1
    card = {"features": {"kind": kind}, "drawing": {}}
    card[part][name] = followed
    FrontEnd(_card(drawn, **card))
    card[part][name] = other
    with pytest.raises(ModelRefused, match=rf"^{part}\.{name} of the card must be .* not {re.escape(repr(other))}$"):
        FrontEnd(_card(drawn, **card))


def test_a_lower_fmin_is_refused(drawn):
    with pytest.raises(ModelRefused, match=r"^features\.fmin of the card must be 32\.70\d+ in this version, not 55$"):
        FrontEnd(_card(drawn, features={"kind": "cqt_db", "fmin": 55}))


@pytest.mark.parametrize("changes", [{"features": {"kind": "mel_db", "fmin": 55.0}}, {"drawing": {"border": 1}}])
def test_an_unknown_parameter_is_refused(drawn, changes):
    with pytest.raises(ModelRefused, match="is not a parameter of this version"):
        FrontEnd(_card(drawn, **changes))


def test_an_unknown_spectrogram_is_refused(drawn):
    with pytest.raises(ModelRefused, match="kind of the card must be one of cqt_db, mel_db, not 'wavelet'"):
        FrontEnd(_card(drawn, features={"kind": "wavelet"}))


def test_the_drawing_is_the_one_of_the_table():
    assert tuple(DRAWING["canvas"]) == (image.WIDTH, image.HEIGHT)
    assert network_picture(np.eye(3, dtype=np.float32)).shape == (3, *DRAWING["size"])


def test_the_table_states_what_the_functions_compute():
    waveform = tone(440, 1.0)
    for row in SPECTROGRAMS.values():
        spectrogram_db = row.compute(waveform)
        n_bins = row.parameters.get("n_bins", row.parameters.get("n_mels"))
        assert spectrogram_db.shape == (n_bins, 1 + len(waveform) // row.parameters["hop_length"])
        assert spectrogram_db.min() == -row.parameters["top_db"]
