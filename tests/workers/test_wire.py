"""Messages as data: what goes in comes out, and nothing else comes in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ccmusic import errors
from ccmusic.audio.waveform import DecodeLimits
from ccmusic.audio.windows import WindowPlan
from ccmusic.errors import InvalidParameter, ModelChanged, Overloaded, UndecodableAudio
from ccmusic.genres import CCMUSIC, LEAVES, OWN, WORLD, taxonomy_of
from ccmusic.inference.occlusion import ExplainPlan, Explanation
from ccmusic.inference.result import HeadResult, ModelIdentity, TrackResult, Window
from ccmusic.models.store import locate
from ccmusic.models.training_profile import Reference, Spread
from ccmusic.workers import wire
from ccmusic.workers.answer_check import MalformedMessage
from ccmusic.workers.channel import (
    Failed,
    Inject,
    Injected,
    Job,
    Ready,
    SelfTest,
    SelfTested,
    WorkerOptions,
)
from ccmusic.workers.served_model import ServedModel

IDENTITY = ModelIdentity("名字", "1.0", "0" * 64)
RANDOM = np.random.default_rng(7)


def levels(taxonomy):
    return {size: RANDOM.random(size) for size in taxonomy.sizes}


def image():
    return RANDOM.integers(0, 256, (84, 30), dtype=np.uint8)


@pytest.fixture
def answer():
    """An answer with a value in every field."""
    return TrackResult(
        model=IDENTITY,
        duration_seconds=20.1,
        probabilities=levels(CCMUSIC),
        windows=tuple(Window(start, start + 10.0, RANDOM.random(16)) for start in (0.0, 10.1)),
        flags=("uncertain",),
        timings={"decode": 0.1, "inference": 1 / 3},
        spectrogram_db=image(),
        sure_level=0,
        heads=(HeadResult(WORLD, levels(WORLD), RANDOM.random((2, 16)), ("uncertain",)),),
        level_dbfs=-20.3,
        bandwidth_hz=4321.1,
        odd="tone",
        explanations=(Explanation(1, 10.1, 20.1, "ccmusic", LEAVES[2], 0.7, RANDOM.random((7, 10)), image()),),
    )


def through(message):
    text, buffers = wire.encode(message)
    return wire.decode(text, memoryview(b"".join(buffers)), (type(message),))


def same(one, other) -> bool:
    """Whether two answers are equal, their arrays bit for bit."""
    return wire.encode(one) == wire.encode(other)


def test_every_bit_of_an_answer_arrives(answer):
    arrived = through(answer)
    assert same(arrived, answer)
    assert arrived.as_json() == answer.as_json()
    assert arrived.as_json(taxonomy="world") == answer.as_json(taxonomy="world")
    assert arrived.windows[1].probabilities.tobytes() == answer.windows[1].probabilities.tobytes()
    assert arrived.heads[0].windows.tobytes() == answer.heads[0].windows.tobytes()
    assert arrived.explanations[0].without.tobytes() == answer.explanations[0].without.tobytes()
    assert (arrived.spectrogram_db == answer.spectrogram_db).all()
    assert [getattr(arrived, name) for name in ("flags", "timings", "sure_level", "odd", "taxonomy", "model")] == [
        getattr(answer, name) for name in ("flags", "timings", "sure_level", "odd", "taxonomy", "model")
    ]


@pytest.mark.parametrize(
    "message",
    [
        WorkerOptions(locate("embedded", "float32"), DecodeLimits(), 2, faults=(("leak", 5.0),), device="auto"),
        WorkerOptions(locate("owner/name", None), DecodeLimits(), 2),
        Job(b"\x00\xff", WindowPlan(30.0, 5), True, ExplainPlan(2, None, "Solo"), "192.0.2.1"),
        Job(Path("/a/\udcff b"), WindowPlan(), False),
        SelfTest(),
        Inject("leak", 3.0),
        Ready(
            ServedModel(
                IDENTITY,
                "onnxruntime-cpu",
                (CCMUSIC, WORLD, taxonomy_of(OWN, ["a", "b"])),
                (0.5, 0.5),
                Reference(recordings=3, confidence=Spread(mean=0.5, variance=0.1, quantiles=(0.0, 0.5, 1.0))),
                "a caveat",
                {"labels": "0" * 64},
            ),
            0.01,
        ),
        SelfTested(0.5, "cause"),
        Injected(3),
    ],
    ids=lambda message: type(message).__name__,
)
def test_every_other_message_arrives(message):
    assert through(message) == message


@pytest.mark.parametrize("error", [UndecodableAudio("a"), InvalidParameter("genre", "must be"), ModelChanged("b")])
def test_an_error_arrives(error):
    arrived = through(Failed(error)).error
    assert type(arrived) is type(error)
    assert arrived.args == error.args


def test_a_worker_cannot_report_an_error_of_the_service():
    assert not {"Overloaded", "WorkerDied", "InferenceTimeout"} & set(wire.ERRORS)
    assert set(wire.ERRORS) < set(errors.__all__)
    refuse(["Failed", [["Overloaded", ["a"]]]], Failed)
    refuse(["Failed", [["InvalidParameter", ["one argument"]]]], Failed)
    refuse(["Failed", [["__class__", ["a"]]]], Failed)
    assert type(through(Failed(Overloaded("a"))).error).__name__ == "CcmusicError"


def refuse(content, *kinds, raw: bytes = b"") -> None:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(MalformedMessage):
        wire.decode(text, memoryview(raw), kinds)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" * 10_000,
        b'{"a": 1}',
        ["SelfTested", [0.1, None], 3],
        ["Injected", [1]],
        ["SelfTested", [0.1]],
        ["SelfTested", {"seconds": 0.1, "cause": None}],
        ["SelfTested", ["0.1", None]],
        ["SelfTested", [True, None]],
        ["SelfTested", [10**400, None]],
        b'["SelfTested", [NaN, null]]',
        b'["SelfTested", [1e999, null]]',
        ["SelfTested", [0.1, [1, "x"]]],
        ["SelfTested", [0.1, [True, "x"]]],
        ["SelfTested", [0.1, ["0", "x"]]],
        ["SelfTested", [0.1, [0, 5]]],
        b'["SelfTested", [0.1, [0, "\\ud800"]]]',
        [["SelfTested"], [0.1, None]],
    ],
)
def test_another_content_is_refused(content):
    refuse(content, SelfTested)


def test_bytes_too_many_or_too_few_are_refused():
    refuse(["SelfTested", [0.1, None]], SelfTested, raw=b"x")
    refuse(["Job", [[0, 3], [None, None], False, None, ""]], Job, raw=b"xx")
    refuse(["Job", [[0, -1], [None, None], False, None, ""]], Job)


@pytest.mark.parametrize(
    ("place", "shape"),
    [
        *((0, shape) for shape in ([2**40, 2**40], [-1], [-1, -1], [0, 2**70], [1] * 100, [2.0], 2, [True, 2])),
        *((place, [2]) for place in (9, -1, -4)),
    ],
)
def test_an_array_of_another_type_or_shape_is_refused(answer, place, shape):
    text, buffers = wire.encode(answer)
    name, content = json.loads(text)
    content[2][0][1] = [place, shape]
    refuse([name, content], TrackResult, raw=b"".join(buffers))


def test_an_array_with_nan_is_refused(answer):
    answer.heads[0].windows[1, 3] = np.nan
    text, buffers = wire.encode(answer)
    refuse(text, TrackResult, raw=b"".join(buffers))


@pytest.mark.parametrize(
    "changes",
    [
        {"windows": ()},
        {"probabilities": {16: np.zeros(16)}},
        {"probabilities": {16: np.zeros(16), 9: np.zeros(9), 2: np.zeros(3)}},
        {"windows": (Window(0.0, 1.0, np.zeros(15)), Window(0.0, 1.0, np.zeros(15)))},
        {"flags": ("new",)},
        {"timings": {"sleep": 1.0}},
        {"sure_level": 3},
        {"spectrogram_db": np.zeros(5, np.uint8)},
        {"spectrogram_db": np.zeros((5, 5))},
        {"heads": (HeadResult(WORLD, levels(WORLD), np.zeros((3, 16)), ()),)},
        {"heads": (HeadResult(WORLD, {}, np.zeros((2, 16)), ()),)},
        {"heads": (HeadResult(WORLD, levels(WORLD), np.zeros((2, 16), np.float32), ()),)},
        {"heads": (HeadResult(WORLD, levels(WORLD), np.zeros((2, 16)), ("new",)),)},
        {"explanations": (Explanation(2, 0.0, 1.0, "ccmusic", LEAVES[0], 0.5, np.zeros((7, 10)), image()),)},
        {"explanations": (Explanation(0, 0.0, 1.0, "ccmusic", LEAVES[0], 0.5, np.zeros((0, 10)), image()),)},
        {
            "explanations": (
                Explanation(0, 0.0, 1.0, "ccmusic", LEAVES[0], 0.5, np.zeros((7, 10), np.float32), image()),
            )
        },
        {
            "explanations": (
                Explanation(0, 0.0, 1.0, "ccmusic", LEAVES[0], 0.5, np.zeros((7, 10)), np.zeros(5, np.uint8)),
            )
        },
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_answer_whose_parts_do_not_agree_is_refused(answer, changes):
    through(answer)
    text, buffers = wire.encode(replace(answer, **changes))
    refuse(text, TrackResult, raw=b"".join(buffers))


def test_an_answer_without_windows_is_refused(answer):
    text, buffers = wire.encode(replace(answer, windows=(), heads=(), explanations=()))
    name, content = json.loads(text)
    assert content[3] == [[0, [0]], [0, [0]]]
    content[3] = [[0, [0, 2]], [0, [0, 16]]]  # two empty arrays of the right form
    refuse([name, content], TrackResult, raw=b"".join(buffers))
