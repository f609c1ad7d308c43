"""Of what an answer is sure."""

from __future__ import annotations

import pytest

from ccmusic.batch.certainty import certainty_of
from support.catalogue_rows import answer


@pytest.mark.parametrize(
    ("status", "changes", "level", "why_not"),
    [
        ("ok", {"sure_level": 16}, 16, ""),
        ("ok", {"sure_level": 9, "flags": ("uncertain",)}, 9, ""),
        ("ok", {"sure_level": 0}, 0, "uncertain"),
        ("ok", {"sure_level": None}, 16, ""),
        ("ok", {"sure_level": None, "flags": ("uncertain",)}, 0, "uncertain"),
        ("ok", {"sure_level": 16, "flags": ("too_short",)}, 0, "too_short"),
        ("ok", {"sure_level": None, "flags": ("too_short",)}, 0, "too_short"),
        ("ok", {"sure_level": 16, "odd": "speech"}, 0, "no_music"),
        ("stale", {"sure_level": 16}, 0, "stale"),
        ("stale", {"sure_level": 16, "odd": "speech"}, 0, "stale"),
    ],
)
def test_an_answer_is_sure_of_a_level_or_there_is_a_reason(status, changes, level, why_not):
    found = certainty_of(status, answer("Soft_rock", 0.5, **changes))
    assert (found.level, found.why_not) == (level, why_not)
    assert found.label == ("Rock" if level == 9 else "Soft_rock")
    assert found.probability == pytest.approx(0.5 if level != 9 else 0.96, abs=0.01)


@pytest.mark.parametrize("status", ["waiting", "failed", "skipped"])
def test_a_track_without_an_answer_of_the_file_as_it_is_has_its_status_as_the_reason(status):
    for found in ({}, {"error": {"type": "internal", "detail": "x"}}, answer("Opera", 0.9, sure_level=16)):
        assert certainty_of(status, found) == certainty_of(status, {})
        assert (certainty_of(status, found).level, certainty_of(status, found).why_not) == (0, status)
