from __future__ import annotations

from typing import Any

import pytest

from ccmusic.errors import InvalidParameter
from ccmusic.training.configuration import MEMBERS, RECORDINGS, SHORT, Configuration


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"start": "vgg"}, "one of mn04, scratch"),
        ({"front": "mfcc"}, "one of cqt, mel"),
        ({"seconds": (1.0,), "shares": (0.5, 0.5)}, "1 values"),
    ],
)
def test_a_wrong_setting_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidParameter, match=problem):
        Configuration(**fields)


def test_each_network_is_for_recordings_or_for_short_sounds() -> None:
    assert set(MEMBERS) == set(RECORDINGS) | set(SHORT)
    assert not set(RECORDINGS) & set(SHORT)
