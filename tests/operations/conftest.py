from __future__ import annotations

import pytest

from ccmusic.operations import drill, gate, golden_answers
from support.ending_clock import EndingClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> EndingClock:
    """The clock of the gate and of the drills."""
    made = EndingClock()
    for module in (drill, gate, golden_answers):
        monkeypatch.setattr(module, "time", made)
    return made
