"""What is watched for drift: genres, confidence, level and bandwidth of the recordings, against the model's card."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ccmusic.genres import CCMUSIC, Genre, Taxonomy
from ccmusic.inference.result import TrackResult
from ccmusic.models.training_profile import Reference, Spread
from ccmusic.monitoring.evidence import Evidence
from ccmusic.workers.served_model import ServedModel

DriftKind = Literal["mix", "confidence", "level", "bandwidth"]
DRIFT_KINDS: tuple[DriftKind, ...] = get_args(DriftKind)
"""What may drift."""
Change = Literal["more", "less", "wider", "narrower"]

SHOWN_RECORDINGS = 200
"""Over so many of the last recordings the mean is given that a warning speaks of."""
LEAST_RECORDINGS = 50
"""Nothing is said after fewer: they may be a handful of albums."""
REMEMBERED_RECORDINGS = 1000
"""A recording that is among so many of the last is the same again and is not counted."""
MIX_TOLERANCE = 0.01
"""Of a genre's mean probability, where the card gives none."""
LEAST_EXPECTED = 0.002
"""A genre is never expected with less: one that the reference never names may still come up."""

SPREADS: dict[DriftKind, str] = {"confidence": "confidence", "level": "level_dbfs", "bandwidth": "bandwidth_hz"}
"""Kinds that are one number, and its name in a `Reference`."""


@dataclass(frozen=True, slots=True)
class DriftOf:
    """How one kind stands.

    Attributes
    ----------
    statistic : float
        Logarithm of the evidence over that of the limit, so that 1 warns (after `LEAST_RECORDINGS`); 0 with none.
    drifted : bool
        Warned of, and not yet as expected again.
    change : {"more", "less", "wider", "narrower"}
        What the evidence points to most.
    group : Genre or None
        Of what, for the mix.
    mean, expected : float
        Over the last `SHOWN_RECORDINGS`, and as the card has it: probability, share, dB, Hz.
    recordings : int
        How many the mean is of.
    """

    kind: DriftKind
    statistic: float
    drifted: bool
    change: Change
    mean: float
    expected: float
    recordings: int
    group: Genre | None = None


@dataclass(frozen=True, slots=True)
class DriftState:
    """What is known about drift.

    Attributes
    ----------
    recordings : int
        Counted since the model in use began to answer.
    kinds : tuple of DriftOf
        Those that the card has a reference for; none at all: nothing is watched.
    """

    recordings: int = 0
    kinds: tuple[DriftOf, ...] = ()

    @property
    def drifted(self) -> tuple[DriftOf, ...]:
        """Those that are warned of."""
        return tuple(kind for kind in self.kinds if kind.drifted)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the card of the model in use says; None where it says nothing."""

    model: str
    mix: Sequence[float] | None = None
    reference: Reference | None = None
    taxonomy: Taxonomy = CCMUSIC

    @classmethod
    def of(cls, served: ServedModel | None) -> Expected | None:
        """What the card of a served model states; None if there is no model."""
        if served is None:
            return None
        return cls(served.identity.sha256, served.reference_mix, served.training_profile, served.taxonomies[0])

    @property
    def groups(self) -> tuple[Genre, ...]:
        """Whose shares are the mix, at every level of the taxonomy: half of a shift may show in no genre alone."""
        return tuple(group for level in self.taxonomy.levels for group in level)


class _Watched:
    """One kind: the evidence, and the last values as people know them."""

    def __init__(
        self, kind: DriftKind, evidence: Evidence, expected: np.ndarray, groups: tuple[Genre, ...] = ()
    ) -> None:
        self.kind = kind
        self.groups = groups
        self.evidence = evidence
        self.expected = expected
        self.last: deque[np.ndarray] = deque(maxlen=SHOWN_RECORDINGS)

    def state(self, limit: float, recordings: int) -> DriftOf:
        index, is_more = self.evidence.strongest
        is_spread = self.kind != "mix" and index == 1
        change: Change = ("wider" if is_more else "narrower") if is_spread else ("more" if is_more else "less")
        value = 0 if is_spread else index
        return DriftOf(
            kind=self.kind,
            statistic=round(math.log(max(1.0, self.evidence.total)) / math.log(limit), 4),
            drifted=self.evidence.reached and recordings >= LEAST_RECORDINGS,
            change=change,
            mean=float(np.mean(self.last, axis=0)[value]) if self.last else float(self.expected[value]),
            expected=float(self.expected[value]),
            recordings=len(self.last),
            group=self.groups[index] if self.kind == "mix" else None,
        )


class DriftWatch:
    """Gathers evidence of drift from every answer of one model; another model begins anew.

    Parameters
    ----------
    expected : callable
        What the card of the model in use says; None before there is a model.
    false_alarm_recordings : int
        While the recordings are like those of the reference, a warning comes after so many or more on average; 0
        gathers nothing.
    """

    def __init__(self, expected: Callable[[], Expected | None], false_alarm_recordings: int = 10_000) -> None:
        self._expected = expected
        self._recordings = false_alarm_recordings
        self._lock = threading.Lock()
        self._for: Expected | None = None
        self._watched: list[_Watched] = []
        self._limit = 1.0
        self._count = 0
        self._seen: deque[int] = deque(maxlen=REMEMBERED_RECORDINGS)

    def note(self, result: TrackResult) -> None:
        """Take in one answer.

        Not counted are recordings too short or too quiet to be compared with the reference's, the same one again (a
        monitor's clip, a song that is tried twice), and what another model than the present one answered.
        """
        expected = self._expected()
        if expected is None or self._recordings == 0 or result.model.sha256 != expected.model:
            return
        if "too_short" in result.flags or "silence" in result.flags:
            return
        with self._lock:
            if expected != self._for:
                self._begin(expected)
            print_of_sound = hash(
                (result.duration_seconds, result.level_dbfs, result.bandwidth_hz, result.leaves.tobytes())
            )
            if print_of_sound in self._seen:
                return
            self._seen.append(print_of_sound)
            self._count += 1
            for watched in self._watched:
                _take_in(watched, result, expected)

    def state(self) -> DriftState:
        """How each kind stands."""
        with self._lock:
            expected = self._expected()
            if expected is None or expected != self._for:
                return DriftState()
            return DriftState(self._count, tuple(watched.state(self._limit, self._count) for watched in self._watched))

    def _begin(self, expected: Expected) -> None:
        self._for = expected
        self._count = 0
        self._seen.clear()
        reference = expected.reference
        kinds: list[tuple[DriftKind, np.ndarray, np.ndarray, np.ndarray]] = []
        if expected.mix is not None:
            kinds.append(("mix", *_expected_mix(expected.mix, expected)))
        for kind, name in SPREADS.items():
            spread: Spread | None = None if reference is None else getattr(reference, name)
            if spread is not None:
                halves, tolerance = np.full(2, 0.5), np.full(2, spread.tolerance)
                kinds.append((kind, halves, tolerance, np.array([spread.mean])))
        # Each kind's share of the false alarms: the mean of their evidence keeps the promise for all of them together.
        self._limit = float(max(2, self._recordings * len(kinds)))
        self._watched = [
            _Watched(kind, Evidence(means, tolerance, self._limit), shown, expected.groups)
            for kind, means, tolerance, shown in kinds
        ]


def _expected_mix(mix: Sequence[float], expected: Expected) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, tolerances, and means again to be shown, of the groups."""
    taxonomy, reference = expected.taxonomy, expected.reference
    leaves = np.asarray(mix, dtype=np.float64)
    leaves = leaves / leaves.sum()
    given = None if reference is None else reference.mix_tolerance
    tolerance = np.full(len(leaves), MIX_TOLERANCE) if given is None else np.asarray(given)
    means = np.concatenate([taxonomy.roll_up(leaves, level) for level in taxonomy.sizes])
    # errors of a sum, as if its parts erred independently
    tolerances = np.concatenate([np.sqrt(taxonomy.roll_up(tolerance**2, level)) for level in taxonomy.sizes])
    return np.clip(means, LEAST_EXPECTED, 1.0 - LEAST_EXPECTED), tolerances, means


def _take_in(watched: _Watched, result: TrackResult, expected: Expected) -> None:
    if watched.kind == "mix":
        values = np.concatenate([result.probabilities[level] for level in expected.taxonomy.sizes])
        watched.evidence.note(values)
        watched.last.append(values)
        return
    value = number_of(watched.kind, result)
    reference = expected.reference
    spread: Spread | None = None if reference is None else getattr(reference, SPREADS[watched.kind])
    if value is None or spread is None:
        return
    rank = spread.rank(value)
    watched.evidence.note(np.array([rank, abs(2.0 * rank - 1.0)]))
    watched.last.append(np.array([value]))


def number_of(kind: DriftKind, result: TrackResult) -> float | None:
    """The number of an answer that a kind is about; None where it has none."""
    match kind:
        case "confidence":
            return float(np.mean([window.probabilities.max() for window in result.windows])) if result.windows else None
        case "level":
            return result.level_dbfs
        case "bandwidth":
            return result.bandwidth_hz
    return None
