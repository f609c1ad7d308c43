import hashlib
import re

import numpy as np
import onnx
import pytest

from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import EmptyAudio, ModelRefused
from ccmusic.features.display import DISPLAY_COLUMNS
from ccmusic.genres import LABELS
from ccmusic.inference.backend import Execution
from ccmusic.inference.pipeline import Pipeline
from ccmusic.inference.result import STAGES
from ccmusic.inference.runtimes import open_backend
from ccmusic.models.card import Card, read_card
from ccmusic.models.card_parts import Calibration, Network
from ccmusic.models.store import EMBEDDED_DIRECTORY, locate, read_model
from support.bands_model import band_network, golden_clips, write_model
from support.recordings import bin_frequency, tone, wav


@pytest.fixture(scope="module")
def pipeline(model_directory):
    return Pipeline.load(locate(str(model_directory)))


@pytest.mark.parametrize("genre", [2, 7, 13])
def test_a_tone_in_a_genres_band_is_that_genre(pipeline, genre):
    result = pipeline.classify(wav(tone(bin_frequency(5 * genre + 2), 5.0)))
    assert result.predictions()[0].genre == LABELS[genre]
    assert result.duration_seconds == pytest.approx(5.0, abs=0.01)
    assert set(result.timings) == set(STAGES) - {"queue"}


def test_the_answer_does_not_depend_on_the_recordings_rate(pipeline):
    frequency = bin_frequency(47)
    at_22050 = pipeline.classify(wav(tone(frequency, 3.0)))
    at_48000 = pipeline.classify(wav(tone(frequency, 3.0, sample_rate=48000), 48000))
    assert at_48000.probabilities[16] == pytest.approx(at_22050.probabilities[16], abs=0.01)


def test_the_windows_of_a_changing_track_differ(pipeline):
    change = np.concatenate([tone(bin_frequency(12), 4.0), tone(bin_frequency(62), 4.0)])
    windows = pipeline.classify(wav(change)).windows
    assert [LABELS[int(w.probabilities.argmax())] for w in (windows[0], windows[-1])] == [LABELS[2], LABELS[12]]
    assert windows[0].start_seconds == 0.0
    assert windows[-1].end_seconds == pytest.approx(8.0, abs=0.03)


def test_first30_analyses_thirty_seconds(pipeline):
    result = pipeline.classify(wav(tone(440, 40.0)), WindowPlan(first_seconds=30.0))
    assert result.duration_seconds == pytest.approx(30.0, abs=0.01)
    assert "truncated" not in result.flags  # the beginning was requested


def test_the_requested_number_of_windows(pipeline):
    assert len(pipeline.classify(wav(tone(440, 20.0)), WindowPlan(count=4)).windows) == 4


@pytest.mark.parametrize("seconds", [0.01, 0.3, 1.0, 1.999])
def test_clips_shorter_than_a_window(pipeline, seconds):
    result = pipeline.classify(wav(tone(440, seconds)))
    assert len(result.windows) == 1
    assert result.windows[0].end_seconds <= result.duration_seconds
    assert result.probabilities[16].sum() == pytest.approx(1.0)
    assert ("too_short" in result.flags) == (seconds < 1.0)


def test_silence_is_flagged(pipeline):
    assert pipeline.classify(wav(np.zeros(44100, np.float32))).flags == ("silence", "uncertain")


def silence(seconds):
    return np.zeros(round(seconds * 22050), np.float32)


def test_silence_has_no_vote(pipeline):
    music = tone(bin_frequency(12), 4.0)
    alone = pipeline.classify(wav(music))
    around = pipeline.classify(wav(np.concatenate([silence(9.0), music, silence(60.0)])))
    assert around.probabilities[16] == pytest.approx(alone.probabilities[16], abs=0.02)
    assert around.duration_seconds == pytest.approx(73.0, abs=0.01)
    assert 8.5 < around.windows[0].start_seconds < around.windows[-1].end_seconds < 13.5
    assert around.level_dbfs == pytest.approx(alone.level_dbfs, abs=0.3)
    assert (around.flags, around.odd) == (alone.flags, alone.odd)


def test_each_part_between_silences_has_the_weight_of_its_length(pipeline):
    low, high = tone(bin_frequency(12), 6.0), tone(bin_frequency(62), 2.0)
    result = pipeline.classify(wav(np.concatenate([low, silence(20.0), high])))
    separate = [pipeline.classify(wav(part)).probabilities[16] for part in (low, high)]
    assert result.probabilities[16] == pytest.approx((6 * separate[0] + 2 * separate[1]) / 8, abs=0.05)
    assert not any(6.5 < window.start_seconds < 25.5 for window in result.windows)


def test_the_flags_speak_of_the_music(pipeline):
    quiet = pipeline.classify(wav(np.concatenate([tone(440, 0.5, 0.0005), silence(3.0)])))
    assert quiet.flags == ("silence", "uncertain")


def test_channels_that_cancel_are_noted_and_heard(pipeline):
    music = tone(bin_frequency(12), 5.0)
    mono, inverted = pipeline.classify(wav(music)), pipeline.classify(wav(np.stack([music, -music], axis=1)))
    assert inverted.probabilities[16] == pytest.approx(mono.probabilities[16], abs=1e-3)
    assert inverted.flags == (*mono.flags, "out_of_phase")


def test_spectrogram_only_on_request(pipeline):
    recording = wav(tone(bin_frequency(40), 30.0))
    assert pipeline.classify(recording).spectrogram_db is None
    picture = pipeline.classify(recording, spectrogram=True).spectrogram_db
    assert (picture.dtype, picture.shape) == (np.uint8, (84, DISPLAY_COLUMNS))
    assert set(picture.argmax(axis=0)) == {40}


def test_json_answer(pipeline):
    answer = pipeline.classify(wav(tone(bin_frequency(2), 5.0))).as_json(level=9, top_k=3, request_id="r1")
    assert len(answer["predictions"]) == 3
    assert answer["predictions"][0]["genre"] == "Symphony"
    assert answer["predictions"][0]["label_zh"] == "交响乐"
    assert answer["levels"]["9"][:3] == answer["predictions"]
    assert len(answer["levels"]["9"]) == 9
    assert answer["windows"][0]["predictions"][0]["genre"] == "Symphony"
    assert answer["request_id"] == "r1"


def test_empty_upload(pipeline):
    with pytest.raises(EmptyAudio):
        pipeline.classify(b"")


def test_another_network_under_the_same_card_is_refused_by_the_golden_clips(model_directory, tmp_path):
    right = read_card(model_directory / "card.json")
    wrong = write_model(tmp_path / "wrong", band_network(scale=0.2), golden=right.golden)
    with pytest.raises(ModelRefused, match="golden clip 'chords' of 2 s: logits off by"):
        Pipeline.load(locate(str(wrong)))


def test_permuted_labels_are_refused(tmp_path):
    permuted = write_model(tmp_path / "m", labels=(LABELS[1], LABELS[0], *LABELS[2:]))
    with pytest.raises(ModelRefused, match="not the 16 ccMusic genres in their order"):
        Pipeline.load(locate(str(permuted)))


def test_a_file_that_is_not_a_network_is_refused(tmp_path):
    directory = write_model(tmp_path / "m", sha256=hashlib.sha256(b"no network").hexdigest())
    (directory / "model.onnx").write_bytes(b"no network")
    with pytest.raises(ModelRefused, match="ONNX Runtime cannot load the network"):
        Pipeline.load(locate(str(directory)))


def _with_int8(directory, network, **changes):
    """A model whose default is another network of another precision, beside the one in float32."""
    write_model(directory)
    card = read_card(directory / "card.json")
    (directory / "model.int8.onnx").write_bytes(network)
    other = Network(
        precision="int8",
        file="model.int8.onnx",
        sha256=hashlib.sha256(network).hexdigest(),
        golden=changes.pop("golden", golden_clips(network)),
        **changes,
    )
    Card(**{**dict(card), **dict(other), "alternatives": (card.running(card).networks[0],)}).save(directory)
    return directory


def test_the_precision_that_the_card_prefers_runs(tmp_path):
    directory = _with_int8(tmp_path / "m", band_network(scale=0.2))
    pipeline = Pipeline.load(locate(str(directory)))
    assert (pipeline.backend, pipeline.caveat) == ("onnxruntime-cpu-int8", None)
    assert pipeline.identity.sha256 == hashlib.sha256(band_network(scale=0.2)).hexdigest()


def test_a_requested_precision_runs(tmp_path):
    directory = _with_int8(tmp_path / "m", band_network(scale=0.2))
    assert Pipeline.load(locate(str(directory), "float32")).backend == "onnxruntime-cpu"
    with pytest.raises(ModelRefused, match="no network in bfloat16, only in int8, float32"):
        Pipeline.load(locate(str(directory), "bfloat16"))


def test_float32_replaces_a_preferred_network_with_wrong_answers(tmp_path):
    directory = _with_int8(tmp_path / "m", band_network(scale=0.2), golden=golden_clips(band_network()))
    pipeline = Pipeline.load(locate(str(directory)))
    assert pipeline.backend == "onnxruntime-cpu"
    assert re.search("network in int8 cannot be used on this machine, float32 runs: golden clip", pipeline.caveat)
    with pytest.raises(ModelRefused, match="golden clip"):  # a requested precision is not replaced
        Pipeline.load(locate(str(directory), "int8"))


def test_the_canary_clips_reach_the_weights_for_short_and_for_long_recordings(monkeypatch):
    pipeline = Pipeline.load(locate(str(EMBEDDED_DIRECTORY)))
    asked = []
    backend = pipeline.network.backend
    answer = backend.all_logits
    monkeypatch.setattr(backend, "all_logits", lambda batch: asked.append(batch.shape[-1]) or answer(batch))
    assert pipeline.canary() == pipeline.canary()
    short, long = asked[:2]
    assert short <= 65 < long  # where the embedded network changes over


def test_the_temperature_depends_on_the_analysed_length(tmp_path):
    warm = (Calibration(seconds=2.0, temperature=1.0), Calibration(seconds=8.0, temperature=3.0))  # windows of 2 s
    pipeline = Pipeline.load(locate(str(write_model(tmp_path / "m", calibration=warm))))
    recording = wav(tone(bin_frequency(37), 8.0))

    def temperature(seconds: float, count: int | None = None) -> float:
        plan = WindowPlan(first_seconds=seconds, count=count)
        sure = pipeline.classify(recording, plan).windows[0].probabilities
        return np.ptp(np.log(plain)) / np.ptp(np.log(sure))

    plain = pipeline.classify(recording, WindowPlan(first_seconds=2.0)).windows[0].probabilities
    assert temperature(8.0) == pytest.approx(3.0, abs=0.02)
    assert temperature(4.0) == pytest.approx(2.0, abs=0.02)  # half way over the logarithm
    assert temperature(8.0, count=1) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("network", ["recordings0", "recordings1", "recordings2", "recordings3", "short0"])
def test_the_golden_clips_reach_every_network_of_the_embedded_model(network):
    card, model = read_model(locate(str(EMBEDDED_DIRECTORY)))
    altered = onnx.load_from_string(model)
    last = max((t for t in altered.graph.initializer if t.name.startswith(network) and len(t.dims) == 4), key=_size)
    weights = onnx.numpy_helper.to_array(last) * 1.001
    last.CopyFrom(onnx.numpy_helper.from_array(weights.astype(np.float32), last.name))
    sound, other = (
        Pipeline(card, open_backend(each, card, Execution())) for each in (model, altered.SerializeToString())
    )
    assert sound.verify() == sound.verify()
    assert other.verify() != sound.verify()


def _size(tensor):
    return np.prod(tensor.dims)
