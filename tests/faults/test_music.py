"""Recordings that the model was not trained for, and a network that favours a genre."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from ccmusic.genres import LABELS
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.store import locate
from faults.drill import prove
from faults.service import Service
from support.bands_model import band_network, write_model
from support.recordings import bin_frequency, tone, wav

ODD = {"silence": "digital_silence", "noise": "rain", "tone": "siren", "pulses": "metronome", "speech": "babble_low"}
"""One sound of each kind of non-music."""
SOUND = runpy.run_path(str(Path(__file__).parents[1] / "data" / "non_music_sounds.py"))["sound"]
FAVOURITE = 8
OTHERS = [genre for genre in range(len(LABELS)) if genre != FAVOURITE]
USUAL = [genre for first in range(0, len(OTHERS), 3) for genre in (FAVOURITE, *OTHERS[first : first + 3])]
"""The mix of the reference: a quarter of one genre, and equal shares of all others."""
MAX_RECORDINGS = 200


def recording(genre: int, number: int) -> bytes:
    """A tone in the band of a genre; each has another level."""
    return wav(tone(bin_frequency(5 * genre + 2), 0.5, 0.3 + number / 10_000))


def usual_mix(directory: Path) -> tuple[float, ...]:
    """The mix in the card of a model whose reference is the usual mix."""
    pipeline = Pipeline.load(locate(str(directory)))
    tracks = [pipeline.classify(recording(genre, 0)).probabilities[16] for genre in USUAL]
    return tuple(float(share) for share in np.mean(tracks, axis=0))


def play(service: Service, genres: list[int], numbers: Iterator[int]) -> list[str]:
    """Classify each, one after another; returns the named genres."""
    answers = [service.classify(recording(genre, next(numbers))) for genre in genres]
    assert {answer.status for answer in answers} == {200}
    return [answer.json["predictions"][0]["genre"] for answer in answers]


def test_the_usual_mix_has_every_genre():
    assert sorted(set(USUAL)) == list(range(len(LABELS)))


@pytest.mark.fault("T7")
def test_non_music_is_answered_and_flagged(row, under_traffic):
    with under_traffic() as (service, traffic):
        for once in row.repeats(service, traffic):
            kind, name = list(ODD.items())[once.number % len(ODD)]
            flagged = service.look().metric("ccmusic_flags_total", flag="uncertain")
            once.begin()
            answer = service.classify(wav(SOUND(name)))
            assert answer.status == 200, answer.text
            assert "uncertain" in answer.json["flags"]
            assert answer.json["odd"] == kind
            once.detected_when(lambda now, before=flagged: now.metric("ccmusic_flags_total", flag="uncertain") > before)
            once.within = True
            once.recovered_when()
        row.remark(f"answered with 200, `uncertain` and the kind: {', '.join(ODD)} in turn")


@pytest.mark.fault("T8")
def test_drift_causes_a_warning_and_no_failure(row, start, tmp_path):
    mix = usual_mix(write_model(tmp_path / "plain"))
    biases = {"one class collapsing": -100.0, "biased logits": 5.0}
    for once in row.repeats():
        name = ("another mix", *biases)[once.number % 3]
        bias = np.eye(len(LABELS))[FAVOURITE] * biases.get(name, 0.0)
        model = write_model(
            tmp_path / f"model-{once.number}",
            band_network(bias=bias),
            reference_mix=mix,
            too_short_below_seconds=0.1,
        )
        with start(model=model) as service:
            once.service, numbers = service, count()
            if name == "another mix":  # first the usual mix, which is not drift
                play(service, USUAL * 5, numbers)
                prove(lambda: service.look().metric("ccmusic_classifications_total") == 100, "recordings are answered")
                look = service.look()
                assert look.check("drift")[0] == "pass"
                assert look.metric("ccmusic_drift_statistic", kind="mix") < 1
            genres = [0, 1, 2, 3] if name == "another mix" else USUAL
            named = play(service, genres, numbers)
            if name == "one class collapsing":
                assert LABELS[FAVOURITE] not in named
            once.begin()
            n_played = len(named)
            while not service.look().reports("drift", "warn", "mix: "):
                play(service, genres, numbers)
                n_played += len(genres)
                assert n_played <= MAX_RECORDINGS, f"{name}: not noticed within {n_played} recordings"
            row.figure(f"recordings until {name} was noticed", n_played)
            once.detected_when(
                lambda now: now.measures("drift", "warn"),
                lambda now: now.metric("ccmusic_drift_statistic", kind="mix") >= 1,
            )
            once.within = True
            look = service.look()
            assert look.green, look.body  # only a warning
            assert look.reports("drift", "warn", "mix: .* are expected")
    row.remark("a warning: /health, /readyz and /livez stayed 200; detected counts from the first such recordings")
