"""Reds and restarts that a fault does not explain, counted while it is injected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from faults.probe_watch import Red


def false_reds(reds: list[Red], may_fail: frozenset[str], injected: float, recovered: float) -> list[Red]:
    """Reds of probes that the fault does not concern, and those that began before it or after the recovery.

    Parameters
    ----------
    reds : list of Red
    may_fail : frozenset of str
        Probes that the fault may turn red.
    injected, recovered : float
        Seconds of the monotonic clock.
    """
    return [red for red in reds if red.probe not in may_fail or not injected <= red.began <= recovered]


def false_restarts(restarts: Mapping[str, int], explained: Mapping[str, int]) -> Counter[str]:
    """Restarts by reason that are more than the fault explains.

    Parameters
    ----------
    restarts : mapping
        Restarts in one repeat, by reason.
    explained : mapping
        The most that the fault explains, by reason.
    """
    return +Counter({reason: count - explained.get(reason, 0) for reason, count in restarts.items()})
