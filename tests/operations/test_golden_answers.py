import json

import pytest

from ccmusic.operations.golden_answers import WrongAnswer, read_probabilities
from ccmusic.operations.http_client import Response


def response(levels):
    return Response(200, json.dumps({"levels": levels}).encode())


def group(**probabilities):
    return [{"genre": genre, "probability": p} for genre, p in probabilities.items()]


def test_the_finest_level_is_read():
    levels = {"2": group(Classic=1.0), "16": group(Opera=0.25, Solo=0.75), "9": group(Pop=1.0)}
    assert read_probabilities(response(levels), "chords") == {"Opera": 0.25, "Solo": 0.75}


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({}, "chords: status 200"),
        (None, "chords: status 200"),
        ({"16": [{"genre": "Opera"}]}, "chords: status 200"),
        ({"16": group(Opera=0.5)}, "their sum is not 1"),
        ({"16": group(Opera=float("nan"))}, "not finite"),
        ({"16": group(Opera=float("inf"))}, "not finite"),
    ],
)
def test_anything_else_is_a_wrong_answer(levels, message):
    with pytest.raises(WrongAnswer, match=message):
        read_probabilities(response(levels), "chords")
