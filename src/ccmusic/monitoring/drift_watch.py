"""Detects drift: compares genres, confidence, level and bandwidth of the recordings with the model's card."""

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
"""The closed set of kinds of drift."""
Change = Literal["more", "less", "wider", "narrower"]

SHOWN_RECORDINGS = 200
"""A warning states the mean over this many of the last recordings."""
MIN_RECORDINGS = 50
"""No warning after fewer recordings, which may come from a few albums."""
REMEMBERED_RECORDINGS = 1000
"""A recording that equals one of this many last recordings is not counted again."""
MIX_TOLERANCE = 0.01
"""Tolerance of a genre's mean probability if the card has none."""
MIN_EXPECTED = 0.002
"""Lower bound of the expected mean: a genre that is absent from the reference may still occur."""

SPREADS: dict[DriftKind, str] = {"confidence": "confidence", "level": "level_dbfs", "bandwidth": "bandwidth_hz"}
"""Kinds that are a single number, and its name in a `Reference`."""


@dataclass(frozen=True, slots=True)
class DriftOf:
    """State of one kind of drift.

    Attributes
    ----------
    statistic : float
        Logarithm of the evidence divided by that of the limit: a warning starts at 1 (after `MIN_RECORDINGS`).
    drifted : bool
        Whether the warning is active.
    change : {"more", "less", "wider", "narrower"}
        The change with the most evidence.
    group : Genre or None
        The changed genre, for the mix.
    mean, expected : float
        Mean over the last `SHOWN_RECORDINGS`, and the value of the card: probability, dB or Hz.
    recordings : int
        Number of recordings in the mean.
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
    """State of all kinds of drift.

    Attributes
    ----------
    recordings : int
        Number of recordings since the model in use started.
    kinds : tuple of DriftOf
        Those with a reference in the card; empty if drift is not measured.
    """

    recordings: int = 0
    kinds: tuple[DriftOf, ...] = ()

    @property
    def drifted(self) -> tuple[DriftOf, ...]:
        """Kinds with an active warning."""
        return tuple(kind for kind in self.kinds if kind.drifted)


@dataclass(frozen=True, slots=True)
class Expected:
    """Expected values from the card of the model in use; None if the card has none."""

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
        """Genres of the mix, at every level of the taxonomy: a shift may be visible only in a group of genres."""
        return tuple(group for level in self.taxonomy.levels for group in level)


class _Watched:
    """One kind: its evidence, and the last values in their own units."""

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
            drifted=self.evidence.reached and recordings >= MIN_RECORDINGS,
            change=change,
            mean=float(np.mean(self.last, axis=0)[value]) if self.last else float(self.expected[value]),
            expected=float(self.expected[value]),
            recordings=len(self.last),
            group=self.groups[index] if self.kind == "mix" else None,
        )


class DriftWatch:
    """Collects evidence of drift from the answers of one model; another model starts over.

    Parameters
    ----------
    expected : callable
        Returns the expected values of the model in use; None before there is a model.
    false_alarm_recordings : int
        Mean number of recordings until a false alarm, at least; 0 turns the detection off.
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
        """Add one answer.

        It is ignored if the recording is too short or too quiet for a comparison, if it was counted recently (such as
        the clip of a monitor), or if another model answered it.
        """
        expected = self._expected()
        if expected is None or self._recordings == 0 or result.model.sha256 != expected.model:
            return
        if "too_short" in result.flags or "silence" in result.flags:
            return
        with self._lock:
            if expected != self._for:
                self._begin(expected)
            fingerprint = hash(
                (result.duration_seconds, result.level_dbfs, result.bandwidth_hz, result.leaves.tobytes())
            )
            if fingerprint in self._seen:
                return
            self._seen.append(fingerprint)
            self._count += 1
            for watched in self._watched:
                _add(watched, result, expected)

    def state(self) -> DriftState:
        """State of each kind."""
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
        # The limit grows with the number of kinds, so that the rate of false alarms holds for all of them together.
        self._limit = float(max(2, self._recordings * len(kinds)))
        self._watched = [
            _Watched(kind, Evidence(means, tolerance, self._limit), shown, expected.groups)
            for kind, means, tolerance, shown in kinds
        ]


def _expected_mix(mix: Sequence[float], expected: Expected) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means for the test, tolerances, and means to show, for each group."""
    taxonomy, reference = expected.taxonomy, expected.reference
    leaves = np.asarray(mix, dtype=np.float64)
    leaves = leaves / leaves.sum()
    given = None if reference is None else reference.mix_tolerance
    tolerance = np.full(len(leaves), MIX_TOLERANCE) if given is None else np.asarray(given)
    means = np.concatenate([taxonomy.roll_up(leaves, level) for level in taxonomy.sizes])
    # error of a sum of independent parts
    tolerances = np.concatenate([np.sqrt(taxonomy.roll_up(tolerance**2, level)) for level in taxonomy.sizes])
    return np.clip(means, MIN_EXPECTED, 1.0 - MIN_EXPECTED), tolerances, means


def _add(watched: _Watched, result: TrackResult, expected: Expected) -> None:
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
    """The number of an answer for a kind; None if it has none."""
    match kind:
        case "confidence":
            return float(np.mean([window.probabilities.max() for window in result.windows])) if result.windows else None
        case "level":
            return result.level_dbfs
        case "bandwidth":
            return result.bandwidth_hz
    return None
