import numpy as np
import pytest

from ccmusic.genres import LABELS, roll_up, taxonomy_of
from ccmusic.inference.result import ModelIdentity, TrackResult, Window
from ccmusic.models.card import read_card
from ccmusic.models.store import EMBEDDED_DIRECTORY
from ccmusic.models.training_profile import Reference, Spread
from ccmusic.monitoring.drift_watch import MIN_RECORDINGS, SHOWN_RECORDINGS, DriftState, DriftWatch, Expected

EVEN = (1 / 16,) * 16
RANKS = tuple(np.linspace(-30, -10, 21))
REFERENCE = Reference(recordings=100, level_dbfs=Spread(mean=-20, variance=33, quantiles=RANKS))
MODEL = "a" * 64


def answer(number: int, genre: int | None = None, **fields) -> TrackResult:
    """The `number`-th recording: of one genre, or of each in turn."""
    leaves = np.full(16, 0.2 / 15)
    leaves[number % 16 if genre is None else genre] = 0.8
    defaults = {
        "model": ModelIdentity("m", "1", MODEL),
        "duration_seconds": 30.0 + number,
        "probabilities": {level: roll_up(leaves, level) for level in (16, 9, 2)},
        "windows": (Window(0.0, 10.0, leaves),),
        "flags": (),
        "level_dbfs": -30.0 + (number * 7) % 20,
    }
    return TrackResult(**(defaults | fields))


def watch_for(expected: Expected | None, recordings: int = 1000) -> DriftWatch:
    return DriftWatch(lambda: expected, recordings)


def test_without_a_model_or_a_reference_nothing_is_measured():
    for expected in (None, Expected(MODEL)):
        watch = watch_for(expected)
        watch.note(answer(0))
        assert watch.state().kinds == ()


def test_recordings_as_expected_give_no_warning():
    watch = watch_for(Expected(MODEL, EVEN, REFERENCE))
    for number in range(400):
        watch.note(answer(number))
    state = watch.state()
    assert [kind.kind for kind in state.kinds] == ["mix", "level"]
    assert (state.recordings, state.drifted) == (400, ())
    assert all(kind.statistic < 1 for kind in state.kinds)


def test_a_single_album_is_not_drift():
    watch = watch_for(Expected(MODEL, EVEN))
    for number in range(MIN_RECORDINGS - 1):
        watch.note(answer(number, genre=8))
    (kind,) = watch.state().kinds
    assert kind.statistic >= 1
    assert not kind.drifted
    watch.note(answer(MIN_RECORDINGS, genre=8))
    assert watch.state().drifted


def test_a_genre_that_grows_is_named_with_its_mean():
    watch = watch_for(Expected(MODEL, EVEN))
    for number in range(100):
        watch.note(answer(number, genre=8))
    (drifted,) = watch.state().drifted
    assert (drifted.group.label, drifted.change, drifted.recordings) == (LABELS[8], "more", 100)
    assert (drifted.mean, drifted.expected) == (pytest.approx(0.8), pytest.approx(1 / 16))


@pytest.mark.parametrize(
    ("level", "change"),
    [(lambda n: -12.0, "more"), (lambda n: -28.0, "less"), (lambda n: (-30, -10)[n % 2], "wider")],
)
def test_a_level_that_changes(level, change):
    watch = watch_for(Expected(MODEL, EVEN, REFERENCE))
    for number in range(200):
        watch.note(answer(number, level_dbfs=float(level(number))))
    (drifted,) = watch.state().drifted
    assert (drifted.kind, drifted.change) == ("level", change)


def test_the_confidence_is_that_of_the_windows_and_not_of_their_mean():
    spread = Spread(mean=0.8, variance=0.01, quantiles=tuple(np.linspace(0.6, 1.0, 21)))
    watch = watch_for(Expected(MODEL, None, Reference(recordings=9, confidence=spread)))
    windows = tuple(Window(0.0, 10.0, row) for row in (np.eye(16) * 0.8)[:4])  # each certain, and each of another genre
    for number in range(50):
        watch.note(answer(number, windows=windows))
    (kind,) = watch.state().kinds
    assert kind.mean == pytest.approx(0.8)


def test_a_recording_that_cannot_be_compared_is_not_counted():
    watch = watch_for(Expected(MODEL, EVEN))
    watch.note(answer(0, flags=("too_short",)))
    watch.note(answer(1, flags=("silence", "uncertain")))
    watch.note(answer(2, model=ModelIdentity("m", "2", "b" * 64)))
    assert watch.state().recordings == 0
    for _ in range(300):
        watch.note(answer(3))  # the clip of a monitor, repeatedly
    assert watch.state().recordings == 1
    assert watch.state().drifted == ()


def test_another_model_starts_over():
    expected = Expected(MODEL, EVEN)
    watch = DriftWatch(lambda: expected, 1000)
    for number in range(100):
        watch.note(answer(number, genre=8))
    assert watch.state().drifted
    expected = Expected("b" * 64, EVEN)
    assert watch.state() == DriftState()
    watch.note(answer(0, model=ModelIdentity("m", "2", "b" * 64)))
    assert (watch.state().recordings, watch.state().drifted) == (1, ())


def test_nothing_is_counted_when_it_is_turned_off():
    watch = watch_for(Expected(MODEL, EVEN), recordings=0)
    for number in range(SHOWN_RECORDINGS):
        watch.note(answer(number, genre=8))
    assert watch.state().kinds == ()


def test_the_embedded_model_has_a_reference_for_every_kind():
    card = read_card(EMBEDDED_DIRECTORY / "card.json")
    watch = watch_for(Expected(MODEL, card.reference_mix, card.reference))
    watch.note(answer(0, bandwidth_hz=1500.0))
    assert [kind.kind for kind in watch.state().kinds] == ["mix", "confidence", "level", "bandwidth"]


def test_the_mix_is_of_the_models_own_labels():
    taxonomy = taxonomy_of("own", ("sea", "wind", "rain"))
    watch = watch_for(Expected(MODEL, (0.4, 0.3, 0.3), taxonomy=taxonomy))
    leaves = np.array([0.1, 0.1, 0.8])
    for number in range(MIN_RECORDINGS + 50):
        watch.note(answer(number, probabilities={3: leaves + 1e-6 * number}, taxonomy=taxonomy))
    (drifted,) = watch.state().drifted
    assert (drifted.group.label, drifted.change) == ("rain", "more")
