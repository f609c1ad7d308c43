"""Rules about odd sounds, taken away where they are about what a label names."""

from __future__ import annotations

import numpy as np
import pytest

from ccmusic.features.cqt import cqt_db
from ccmusic.finetuning.non_music_rules import limits_for_labels
from ccmusic.finetuning.training_set import TrainingSet
from ccmusic.inference.non_music import SoundTraits, measure_if_long_enough, non_music_kind
from ccmusic.models.golden import chords
from ccmusic.models.non_music_limits import OUT_OF_REACH, NonMusicLimits
from support.recordings import tone

LABELS = ("music", "noise")


@pytest.fixture(scope="module")
def noise() -> SoundTraits:
    waveform = np.random.default_rng(1).normal(size=3 * 22050).astype(np.float32) / 8
    return _odd(waveform, "noise")


@pytest.fixture(scope="module")
def note() -> SoundTraits:
    return _odd(tone(440, 3.0), "tone")


@pytest.fixture(scope="module")
def music() -> SoundTraits:
    return _odd(chords(6.0), None)


def _odd(waveform: np.ndarray, kind: str | None) -> SoundTraits:
    found = measure_if_long_enough(cqt_db(waveform))
    assert found is not None
    assert non_music_kind(found, NonMusicLimits()) == kind
    return found


def test_a_label_for_noise_drops_the_noise_rule(music: SoundTraits, noise: SoundTraits, note: SoundTraits) -> None:
    limits, notes = limits_for_labels(
        [music] * 6 + [noise] * 5 + [music], np.repeat([0, 1], 6), LABELS, NonMusicLimits()
    )
    assert non_music_kind(noise, limits) is None
    assert non_music_kind(note, limits) == "tone"
    assert notes == (
        "5 of 6 recordings of noise sound like noise: "
        "this model does not flag noise as odd, nor its answers as uncertain",
    )


def test_single_matches_drop_no_rule(music: SoundTraits, noise: SoundTraits) -> None:
    stray = [music] * 10 + [noise, *[music] * 9] + [noise]
    assert limits_for_labels(stray, np.repeat([0, 1, 2], [10, 10, 1]), (*LABELS, "one"), NonMusicLimits()) == (
        NonMusicLimits(),
        (),
    )


def test_too_short_recordings_are_not_counted(noise: SoundTraits) -> None:
    limits, notes = limits_for_labels(
        [noise, noise, *[None] * 20], np.repeat([1, 0], [12, 10]), LABELS, NonMusicLimits()
    )
    assert (non_music_kind(noise, limits), notes[0][:6]) == (None, "2 of 2")
    assert limits_for_labels([None] * 6, np.repeat([0, 1], 3), LABELS, NonMusicLimits()) == (NonMusicLimits(), ())


def test_the_next_rule_that_matches_is_dropped_too(note: SoundTraits) -> None:
    pulses = NonMusicLimits(pulses_steadiness=1e9)
    limits, notes = limits_for_labels([note] * 4, np.repeat([0, 1], 2), LABELS, pulses)
    assert [kind for kind in OUT_OF_REACH if any(f"sound like {kind}:" in text for text in notes)] == ["tone", "pulses"]
    assert non_music_kind(note, limits) is None


def test_limits_of_the_base_model_stay(noise: SoundTraits) -> None:
    limits, _ = limits_for_labels([noise] * 4, np.repeat([0, 1], 2), LABELS, NonMusicLimits(speech_score=7.0))
    assert limits == NonMusicLimits(speech_score=7.0).without("noise")


def test_a_model_of_single_notes_does_not_flag_them_as_odd(training_set: TrainingSet) -> None:
    assert [s.traits is None for s in training_set.spectrograms] == [
        s.duration_seconds < 2 for s in training_set.spectrograms
    ]
    kinds = {
        non_music_kind(s.traits, training_set.odd_limits) for s in training_set.spectrograms if s.traits is not None
    }
    assert None in kinds
    assert "tone" not in kinds
    assert training_set.is_odd.tolist() == [
        s.traits is not None and non_music_kind(s.traits, training_set.odd_limits) is not None
        for s in training_set.spectrograms
    ]
    assert any("sound like tone" in note for note in training_set.notes)


@pytest.mark.parametrize("kind", OUT_OF_REACH)
def test_no_recording_exceeds_disabled_limits(kind: str) -> None:
    generator = np.random.default_rng(2)
    limits = NonMusicLimits().without(*OUT_OF_REACH)
    worst = NonMusicLimits().without(*(other for other in OUT_OF_REACH if other != kind))
    numbers = generator.exponential([0.3, 9, 20, 20, 1, 6, 0.2, 1, 0.2, 5], (2000, 10))
    found = [SoundTraits(*row) for row in numbers]
    assert {non_music_kind(traits, limits) for traits in found} == {None}
    assert {non_music_kind(traits, worst) for traits in found} == {None, kind}
