"""What counts as a false red or a false restart."""

from __future__ import annotations

import math

from faults.false_alarms import false_reds, false_restarts
from faults.probe_watch import Red


def red(probe: str, began: float) -> Red:
    return Red(probe, began, began + 1.0, "503")


def test_a_red_is_false_if_the_fault_does_not_concern_its_probe_or_at_another_time() -> None:
    concerned = frozenset({"health"})
    during, other = red("health", 5.0), red("livez", 5.0)
    before, after = red("health", 3.9), red("health", 8.1)
    assert false_reds([during, other, before, after], concerned, 4.0, 8.0) == [other, before, after]
    assert false_reds([during, after], concerned, 4.0, math.inf) == []


def test_a_restart_is_false_beyond_the_explained_number_of_its_reason() -> None:
    assert false_restarts({"killed": 1, "load": 0}, {"killed": 1}) == {}
    assert false_restarts({"killed": 3, "heartbeat": 1}, {"killed": 1, "load": 2}) == {"killed": 2, "heartbeat": 1}
