import dataclasses
import runpy
from pathlib import Path

import numpy as np
import pytest

from ccmusic.audio.decode import decode
from ccmusic.features.cqt import cqt_db
from ccmusic.inference.non_music import MIN_SECONDS, SoundTraits, detect_non_music, measure_traits, non_music_kind
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.non_music_limits import NonMusicLimits
from ccmusic.models.store import locate
from support.recordings import tone, wav

ROOT = Path(__file__).parents[2]
ODD = runpy.run_path(str(ROOT / "tests" / "data" / "non_music_sounds.py"))
LIMITS = NonMusicLimits()
TAKEN_FOR = {
    "constant": "empty",
    "slow_drift": "empty",
    "constant_with_hiss": "empty",
    "sine_10_khz": "empty",  # above the transform's range
    "one_click": "empty",
    "noise_bursts": "pulses",
    "crackle": "pulses",
    "alarm": "pulses",
    "hum_and_hiss": "tone",
    **dict.fromkeys(["clicks", "metronome", "clock", "counter"], "pulses"),
    **dict.fromkeys(["kicks", "hats", "backbeat", "breakbeat"], "pulses"),
}
"""Where the name is not what a listener would say first."""


@pytest.fixture(scope="module")
def pipeline(model_directory):
    return Pipeline.load(locate(str(model_directory)))


@pytest.mark.parametrize("name", ODD["SOUNDS"])
def test_non_music_sounds_are_flagged_and_named(pipeline, name):
    result = pipeline.classify(wav(ODD["sound"](name)))
    assert result.odd == TAKEN_FOR.get(name, ODD["KINDS"][name])
    assert "uncertain" in result.flags
    assert result.as_json()["odd"] == result.odd


MUSIC = SoundTraits(
    sounding=1.0, width=15.0, widest=25.0, mean_width=40.0, roughness=1.4, contrast=7.5, persistence=0.3,
    steadiness=1.2, gaps=0.02, wandering=1.8,
)  # fmt: skip
"""The median of the training's clips."""


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (None, {}),
        ("empty", {"sounding": 0.05}),
        ("tone", {"width": 3.0}),
        ("tone", {"widest": 6.0}),
        ("tone", {"mean_width": 6.0}),
        ("tone", {"width": 4.5, "gaps": 0.5}),
        (None, {"width": 4.5}),
        (None, {"gaps": 0.5}),
        ("tone", {"contrast": 3.0}),
        (None, {"contrast": 3.0, "steadiness": 0.9}),
        ("pulses", {"steadiness": 0.4}),
        ("pulses", {"sounding": 0.5}),
        ("noise", {"width": 40.0}),
        ("noise", {"contrast": 5.5, "roughness": 0.4, "persistence": -0.01}),
        (None, {"contrast": 5.5, "roughness": 0.4, "persistence": -0.2}),
        (None, {"contrast": 5.5, "roughness": 1.4, "persistence": 0.01}),
        (None, {"contrast": 7.5, "roughness": 0.4, "persistence": 0.01}),
        ("speech", {"contrast": 12.5, "wandering": 5.5, "roughness": 1.0}),
        (None, {"contrast": 12.5, "wandering": 1.0, "roughness": 6.0}),
    ],
)
def test_each_rule_by_itself(name, changes):
    assert non_music_kind(dataclasses.replace(MUSIC, **changes), LIMITS) == name


def test_there_are_at_least_fifty_sounds():
    assert len(ODD["SOUNDS"]) >= 50


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.ogg")), ids=lambda path: path.stem)
def test_music_is_not_flagged(path):
    assert detect_non_music(cqt_db(decode(path).waveform), LIMITS) is None


def test_start_middle_and_end_of_a_long_recording_are_measured():
    song = cqt_db(decode(ROOT / "examples" / "rock.ogg").waveform)
    long = np.concatenate([song] * (1 + 20_000 // song.shape[1]), axis=1)
    assert detect_non_music(long, LIMITS) is None
    unheard = long.copy()
    unheard[:, 1000:8000] = -20.0
    assert measure_traits(unheard) == measure_traits(long)
    begins_with_noise = np.concatenate([cqt_db(ODD["sound"]("pink_noise"))] * 10 + [song] * 20, axis=1)
    assert detect_non_music(begins_with_noise, LIMITS) is None


def test_all_of_a_recording_of_a_minute_is_measured():
    sound = np.full((84, 2000), -80.0, np.float32)
    sound[:, :100] = 0.0
    assert measure_traits(sound).sounding == pytest.approx(0.05)


def test_a_single_note_is_not_judged():
    note = cqt_db(tone(440, MIN_SECONDS - 0.1))
    assert detect_non_music(note, LIMITS) is None
    assert detect_non_music(cqt_db(tone(440, MIN_SECONDS + 0.1)), LIMITS) == "tone"


def test_limits_may_turn_a_rule_off():
    found = measure_traits(cqt_db(ODD["sound"]("kicks")))
    assert non_music_kind(found, LIMITS) == "pulses"
    assert non_music_kind(found, LIMITS.model_copy(update={"pulses_steadiness": 0.0, "pulses_sounding": 0.0})) is None


def test_the_speech_score_has_its_own_limit():
    song = measure_traits(cqt_db(decode(ROOT / "examples" / "rock.ogg").waveform))
    talking = dataclasses.replace(song, contrast=12.5, wandering=5.5, roughness=1.0)
    assert non_music_kind(talking, LIMITS) == "speech"
    assert non_music_kind(talking, LIMITS.model_copy(update={"speech_score": 1000.0})) is None


def test_a_card_may_set_other_limits(pipeline):
    card = pipeline.card.model_copy(update={"odd": NonMusicLimits(pulses_steadiness=0.0, pulses_sounding=0.0)})
    other = Pipeline(card, pipeline.network.backend)
    kicks = wav(ODD["sound"]("kicks"))
    assert (pipeline.classify(kicks).odd, other.classify(kicks).odd) == ("pulses", None)
