"""JSON with bounds on its values and its depth."""

import json

import pytest

from ccmusic.errors import InvalidParameter
from ccmusic.serving.bounded_json import parse_json

VALUES, DEPTH = 1000, 10


def parse(text: bytes) -> object:
    return parse_json(text, VALUES, DEPTH)


@pytest.mark.parametrize(
    "value", [{}, [], 1, "text", {"a": [1, 2.5, None, True, "é\\n"]}, list(range(VALUES - 1)), "x" * 100_000]
)
def test_ordinary_json_is_parsed(value):
    assert parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize("deep", [b"[", b'{"a":'])
def test_depth_is_bounded(deep):
    end = {b"[": b"]", b'{"a":': b"}"}[deep]
    parse(deep * DEPTH + b"1" + end * DEPTH)
    with pytest.raises(InvalidParameter, match="deeper than 10"):
        parse(deep * (DEPTH + 1) + b"1" + end * (DEPTH + 1))


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"1," * VALUES + b"1]",
        b"[" + b"[]," * VALUES + b"1]",
        b"{" + b'"a":1,' * VALUES + b'"a":1}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"," * 100_000,
    ],
)
def test_the_number_of_values_is_bounded_before_they_are_built(text):
    with pytest.raises(InvalidParameter, match="more than 1000 values"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"nul",
        b"\xff",
        b"NaN",
        b"[Infinity]",
        b"[" * 999,
        b"1" * 5000,
        rb'"\ud800"',
        rb'{"\udc00": 1}',
        b'"\xed\xa0\x80"',
    ],
)
def test_what_is_no_json_is_refused_in_one_short_line(text):
    with pytest.raises(InvalidParameter) as refusal:
        parse(text)
    assert len(str(refusal.value)) < 300
    assert "\n" not in str(refusal.value)
    str(refusal.value).encode()


def test_a_surrogate_pair_is_a_character():
    assert parse(rb'"\ud83c\udfb5"') == "🎵"
