"""How soon drift is seen, and how often it is seen where there is none: replays of the embedded model's own answers.

::

    python bench/drift.py --data DATA [--write docs/drift.md]

The answers are the network's for every clip of the data directory; a replay draws clips at random and hands each to the
watch that the service uses. Shifts are made of the same answers: another mix by drawing other clips, a bias by adding
to a logit before the softmax, level by adding decibels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ccmusic.genres import LABELS, LEVELS, roll_up
from ccmusic.inference.aggregate import softmax
from ccmusic.inference.level_and_bandwidth import bandwidth_hz
from ccmusic.inference.result import ModelIdentity, TrackResult, Window
from ccmusic.models.card import CARD_NAME, Card, read_card
from ccmusic.models.store import EMBEDDED_DIRECTORY
from ccmusic.monitoring.drift_watch import DriftWatch, Expected
from ccmusic.training.data import Dataset, load
from ccmusic.training.predict import WINDOW_SECONDS
from ccmusic.training.profile import window_probabilities

RECORDINGS = 1000
"""Of a stationary replay; a shift is given up after so many, too."""
REPEATS = 100
RUNS = (3, 10)
"""Recordings of one kind in a row, as an album has them."""


@dataclass(frozen=True)
class Clips:
    """Logits of every window [clips, windows, 16], NaN where there is none, and the numbers of the sound."""

    logits: np.ndarray
    temperature: float
    level: np.ndarray
    bandwidth: np.ndarray

    def windows(self, bias: np.ndarray | float = 0.0, sharper: float = 1.0) -> np.ndarray:
        return softmax((self.logits + bias) * sharper / self.temperature)


def measured(dataset: Dataset, card: Card) -> Clips:
    temperature = card.temperature(WINDOW_SECONDS)
    plain = window_probabilities(EMBEDDED_DIRECTORY / card.file, dataset, 1.0)
    bandwidth = np.array([bandwidth_hz(dataset.cqt_db(clip)) for clip in range(len(dataset))])
    return Clips(np.log(np.maximum(plain, 1e-30)), temperature, 20 * np.log10(dataset.rms), bandwidth)


class Replay:
    """Plays clips to a fresh watch until it warns."""

    def __init__(self, card: Card, clips: Clips, windows: np.ndarray, gain_db: float = 0.0) -> None:
        self._card = card
        identity = ModelIdentity(card.name, card.version, card.sha256)
        self._results = []
        for clip, padded in enumerate(windows):
            rows = padded[np.isfinite(padded).all(axis=1)]
            mean = rows.mean(axis=0)
            self._results.append(
                TrackResult(
                    model=identity,
                    duration_seconds=30.0,
                    probabilities={level: roll_up(mean, level) for level in LEVELS},
                    windows=tuple(Window(0.0, 10.0, row) for row in rows),
                    flags=(),
                    level_dbfs=float(clips.level[clip]) + gain_db,
                    bandwidth_hz=float(clips.bandwidth[clip]),
                )
            )
        self.top = np.array([result.probabilities[16].argmax() for result in self._results])

    def until_warned(self, order: np.ndarray) -> tuple[int, str] | None:
        card = self._card
        watch = DriftWatch(lambda: Expected(card.sha256, card.reference_mix, card.reference))
        for number, clip in enumerate(order, 1):
            # the same clip, drawn again, stands for another recording: so its length is made another
            watch.note(replace(self._results[clip], duration_seconds=30.0 + number / 1000))
            if drifted := watch.state().drifted:
                first = drifted[0]
                of = first.group.label if first.group else first.change
                return number, f"{first.kind} ({of})"
        return None

    def in_runs(self, generator: np.random.Generator, length: int) -> np.ndarray:
        """Clips of the reference's mix, but so many in a row with the same likeliest genre."""
        order: list[int] = []
        while len(order) < RECORDINGS:
            genre = self.top[generator.integers(len(self.top))]
            order += generator.choice(np.flatnonzero(self.top == genre), length).tolist()
        return np.array(order[:RECORDINGS])


def drawn(n: int, weights: np.ndarray | None = None) -> Callable[[np.random.Generator], np.ndarray]:
    shares = None if weights is None else weights / weights.sum()
    return lambda generator: generator.choice(n, RECORDINGS, p=shares)


def row(name: str, replay: Replay, order: Callable[[np.random.Generator], np.ndarray], repeats: int) -> str:
    found = [replay.until_warned(order(np.random.default_rng(seed))) for seed in range(repeats)]
    numbers = [warned[0] for warned in found if warned]
    words = [warned[1] for warned in found if warned]
    within = sum(number <= 200 for number in numbers)
    if not numbers:
        return f"| {name} | {within} of {repeats} | 0 of {repeats} | | | |"
    often = max(sorted(set(words)), key=words.count)
    return (
        f"| {name} | {within} of {repeats} | {len(numbers)} of {repeats} | {np.mean(numbers):.0f} | "
        f"{np.percentile(numbers, 95):.0f} | {often} |"
    )


def one(label: str, value: float) -> np.ndarray:
    bias = np.zeros(len(LABELS))
    bias[LABELS.index(label)] = value
    return bias


def page(clips: Clips, card: Card, repeats: int) -> str:
    n = len(clips.level)
    usual = Replay(card, clips, clips.windows())
    classical, dance = usual.top < 4, np.isin(usual.top, (6, 7, 8))
    stationary = [
        row("drawn at random", usual, drawn(n), repeats),
        *(
            row(f"{length} of one genre in a row", usual, lambda g, k=length: usual.in_runs(g, k), repeats)
            for length in RUNS
        ),
    ]
    shifts = [
        row("**another mix: classical only**", usual, drawn(n, classical.astype(float)), repeats),
        row(
            "another mix: dance and teen pop three times as often", usual, drawn(n, np.where(dance, 3.0, 1.0)), repeats
        ),
        row("another mix: classical three times as often", usual, drawn(n, np.where(classical, 3.0, 1.0)), repeats),
        row(
            "**one class collapsing: Soul_or_RnB is never named**",
            Replay(card, clips, clips.windows(one("Soul_or_RnB", -20))),
            drawn(n),
            repeats,
        ),
        row(
            "one class collapsing: Acoustic_pop is never named",
            Replay(card, clips, clips.windows(one("Acoustic_pop", -20))),
            drawn(n),
            repeats,
        ),
        row(
            "one class collapsing: Opera is never named",
            Replay(card, clips, clips.windows(one("Opera", -20))),
            drawn(n),
            repeats,
        ),
        row(
            "into one class collapsing: Dance_pop for nearly all",
            Replay(card, clips, clips.windows(one("Dance_pop", 8))),
            drawn(n),
            repeats,
        ),
        row(
            "**biased logits: Dance_pop + 2**",
            Replay(card, clips, clips.windows(one("Dance_pop", 2))),
            drawn(n),
            repeats,
        ),
        row("biased logits: Dance_pop + 1", Replay(card, clips, clips.windows(one("Dance_pop", 1))), drawn(n), repeats),
        row("logits twice as large", Replay(card, clips, clips.windows(sharper=2)), drawn(n), repeats),
        row("logits half as large", Replay(card, clips, clips.windows(sharper=0.5)), drawn(n), repeats),
        row("6 dB quieter", Replay(card, clips, clips.windows(), -6), drawn(n), repeats),
        row("3 dB louder", Replay(card, clips, clips.windows(), 3), drawn(n), repeats),
    ]
    return PAGE.format(
        n=n,
        repeats=repeats,
        head=HEAD,
        stationary="\n".join(stationary),
        shifts="\n".join(shifts),
        recordings=RECORDINGS,
    )


HEAD = """| replay | within 200 | within 1,000 | mean recordings | p95 | detected by (most often) |
|---|---|---|---|---|---|"""
PAGE = """# Drift

Written by `python bench/drift.py`: how soon the service detects that the music or the answers of the network have
changed, and how often it gives a false alarm.

## Guarantee

The card of a model describes its training recordings (`reference_mix`, `reference`): the mean probability of each
genre, and the distributions of confidence, level and bandwidth. The service compares every answer with them, one by one
(`monitoring/evidence.py`, `monitoring/drift_watch.py`). The test is a Shiryaev-Roberts e-detector based on bets (Shin,
Ramdas, Rinaldo 2023): it assumes no distribution. It only assumes that, given the previous recordings, the expected
numbers of a recording equal the means of the reference, within the tolerance of the card. Then, for
`CCMUSIC_DRIFT_RECORDINGS` = L (10,000 as shipped):

* **the mean number of recordings until a false warning is at least L**, all kinds together;
* **among n recordings there is one with a probability of at most n / L**: 2 % in 200, 10 % in 1,000.

Drift is only a warning: the check `drift` in `/health` (which never fails), `ccmusic_drift_statistic`, the alert
CcmusicDrift, and a line on the status tab of the page. It ends by itself after some hundred recordings as expected.

## Limits

* **Albums.** Runs of similar recordings violate the assumption: the next track of an album depends on the previous one.
  The rate of false alarms is then much higher, see the first table. Therefore there is no warning before 50 recordings,
  and the alert waits for an hour. If a service receives whole albums, set a larger `CCMUSIC_DRIFT_RECORDINGS`, or 0 to
  turn the detection off. A repetition of one of the last 1,000 recordings is not counted.
* **Your music differs from the training set.** The reference is {n} clips of research collections, mostly from before
  2000. A service for the catalogue of one label will get a drift warning, which is correct;
  `CCMUSIC_DRIFT_RECORDINGS=0` turns it off.
* **The reference is in-sample.** The network was trained on these clips and is more confident on them than on others,
  so the tolerance of the confidence is doubled. Tolerances are at least two standard errors, over artists, of the
  reference itself.
* **Rare genres.** A genre with 2 % of the answers can disappear without detection for a long time; 200 recordings are
  too few to detect it.
* Recordings under the card's `too_short_below_seconds`, and silent ones, are not compared, because the reference
  contains none.
* Embeddings are not compared: the networks of the service return only logits.

## Measured

Real answers of the embedded network for the {n} clips, drawn at random with {repeats} seeds; up to {recordings:,}
recordings a replay. Rows in bold are the three shifts of the fault catalogue (T8: within 200 recordings). A shift is
present from the first recording on; there is no warning before 50. The draws come from the clips of the reference, so
these figures describe the test, not the reference.

### No shift

{head}
{stationary}

### Shifts

{head}
{shifts}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    card = read_card(EMBEDDED_DIRECTORY / CARD_NAME)
    text = page(measured(load(options.data), card), card, options.repeats)
    if options.write is None:
        print(text)
    else:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
