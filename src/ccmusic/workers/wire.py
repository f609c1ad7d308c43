"""Messages as data: a text of JSON and the raw bytes of arrays. Nothing in a message names code or calls it.

A file that takes over a worker also writes the worker's messages. The declared types of the records in `channel` say
what each place of a message may hold; everything else is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import ValidationError

from ccmusic import errors
from ccmusic.errors import CcmusicError, OutOfMemory, ServiceError
from ccmusic.genres import OWN, TAXONOMIES, Taxonomy, taxonomy_of
from ccmusic.inference.result import TrackResult, Window
from ccmusic.models.record import Record
from ccmusic.workers.answer_check import MalformedMessage, check_answer, require
from ccmusic.workers.channel import Message

DTYPES = ("<f8", "<f4", "|u1")
"""The types of numbers that an array may hold."""
MAX_DIMENSIONS = 2

ERRORS: dict[str, type[CcmusicError]] = {
    name: kind
    for name in errors.__all__
    if not issubclass(kind := getattr(errors, name), ServiceError) or kind is OutOfMemory
}
"""The errors that a worker may report, by name; their arguments are texts."""

M = TypeVar("M", bound=Message)
Encode = Callable[[Any, list[bytes]], Any]
Decode = Callable[[Any, "_Buffers"], Any]


def encode(message: Message) -> tuple[bytes, list[bytes]]:
    """The text and the raw bytes of a message."""
    buffers: list[bytes] = []
    content = _codec(type(message))[0](message, buffers)
    return json.dumps([type(message).__name__, content], allow_nan=False).encode("ascii"), buffers


def decode(text: bytes, raw: memoryview, kinds: tuple[type[M], ...]) -> M:
    """The message, if it is one of these kinds and every place in it holds what the record declares.

    Raises
    ------
    MalformedMessage
        It is anything else.
    """
    try:
        name, content = json.loads(text)
        kind = next(kind for kind in kinds if kind.__name__ == name)
    except (ValueError, TypeError, RecursionError, StopIteration):
        raise MalformedMessage(f"it is none of {', '.join(kind.__name__ for kind in kinds)}") from None
    buffers = _Buffers(raw)
    message: M = _codec(kind)[1](content, buffers)
    require(buffers.left == 0, f"{buffers.left} bytes too many")
    if isinstance(message, TrackResult):
        check_answer(message)
    return message


class _Buffers:
    """The raw bytes of a message, taken from its beginning to its end."""

    def __init__(self, raw: memoryview) -> None:
        self._rest = raw

    @property
    def left(self) -> int:
        return len(self._rest)

    def take(self, size: Any) -> memoryview:
        require(type(size) is int and 0 <= size <= len(self._rest), "fewer bytes than its text says")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def _codec(hint: Any) -> tuple[Encode, Decode]:
    """The two functions for values of a declared type."""
    if hint not in _CODECS:
        _CODECS[hint] = _made(hint)
    return _CODECS[hint]


def _made(hint: Any) -> tuple[Encode, Decode]:
    if (origin := get_origin(hint)) is not None:
        return _GENERIC[origin](get_args(hint))
    if is_dataclass(hint):
        return _record(hint)  # type: ignore[arg-type]  # a class, not an instance
    if issubclass(hint, Record):
        return _card_record(hint)
    raise TypeError(f"{hint} does not belong in a message")


def _record(kind: type[Any]) -> tuple[Encode, Decode]:
    names = [field.name for field in fields(kind)]
    hints = get_type_hints(kind)
    codecs = [_codec(hints[name]) for name in names]

    def encode(value: Any, buffers: list[bytes]) -> Any:
        return [codec[0](getattr(value, name), buffers) for name, codec in zip(names, codecs, strict=True)]

    def decode(value: Any, buffers: _Buffers) -> Any:
        require(isinstance(value, list) and len(value) == len(names), f"it is no {kind.__name__}")
        return kind(*(codec[1](item, buffers) for item, codec in zip(value, codecs, strict=True)))

    return encode, decode


def _tuple(items: tuple[Any, ...]) -> tuple[Encode, Decode]:
    if items[1:] != (...,):
        return _row(items)
    encode_item, decode_item = _codec(items[0])

    def decode(value: Any, buffers: _Buffers) -> Any:
        require(isinstance(value, list), "it is no sequence")
        return tuple(decode_item(item, buffers) for item in value)

    return lambda value, buffers: [encode_item(item, buffers) for item in value], decode


def _row(items: tuple[Any, ...]) -> tuple[Encode, Decode]:
    codecs = [_codec(item) for item in items]

    def decode(value: Any, buffers: _Buffers) -> Any:
        require(isinstance(value, list) and len(value) == len(codecs), f"it has not {len(codecs)} items")
        return tuple(codec[1](item, buffers) for codec, item in zip(codecs, value, strict=True))

    return lambda value, buffers: [codec[0](item, buffers) for codec, item in zip(codecs, value, strict=True)], decode


def _mapping(pair: tuple[Any, ...]) -> tuple[Encode, Decode]:
    encode_pairs, decode_pairs = _tuple((tuple.__class_getitem__(pair), ...))

    def decode(value: Any, buffers: _Buffers) -> Any:
        pairs = decode_pairs(value, buffers)
        require(len(dict(pairs)) == len(pairs), "a key occurs twice")
        return dict(pairs)

    return lambda value, buffers: encode_pairs(value.items(), buffers), decode


def _literal(values: tuple[Any, ...]) -> tuple[Encode, Decode]:
    def decode(value: Any, _: _Buffers) -> Any:
        require(isinstance(value, str) and value in values, f"it is none of {values}")
        return value

    return lambda value, _: value, decode


def _union(kinds: tuple[Any, ...]) -> tuple[Encode, Decode]:
    """None, or one of at most two types: the place of the type, and the value."""
    present = [kind for kind in kinds if kind is not NoneType]
    classes = [get_origin(kind) or kind for kind in present]
    codecs = [_codec(kind) for kind in present]

    def encode(value: Any, buffers: list[bytes]) -> Any:
        if value is None:
            return None
        if len(codecs) == 1:
            return [0, codecs[0][0](value, buffers)]
        place = next(place for place, kind in enumerate(classes) if isinstance(value, kind))
        return [place, codecs[place][0](value, buffers)]

    def decode(value: Any, buffers: _Buffers) -> Any:
        if value is None:
            require(NoneType in kinds, "a value is missing")
            return None
        require(isinstance(value, list) and len(value) == 2, "it is no value of a union")
        place, content = value
        require(type(place) is int and 0 <= place < len(codecs), "it is no type of a union")
        return codecs[place][1](content, buffers)

    return encode, decode


def _card_record(kind: type[Record]) -> tuple[Encode, Decode]:
    def decode(value: Any, _: _Buffers) -> Any:
        try:
            return kind.model_validate(value)
        except (ValidationError, RecursionError):
            raise MalformedMessage(f"it is no {kind.__name__}") from None

    return lambda value, _: value.model_dump(mode="json"), decode


def _decode_text(value: Any, _: _Buffers) -> str:
    require(isinstance(value, str), "it is no text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MalformedMessage("its text is no Unicode") from None
    return str(value)


def _decode_path(value: Any, _: _Buffers) -> Path:
    require(isinstance(value, str) and "\0" not in value, "it is no path")
    return Path(value)


def _decode_integer(value: Any, _: _Buffers) -> int:
    require(type(value) is int and abs(value) < 2**63, "it is no integer")
    return int(value)


def _decode_number(value: Any, _: _Buffers) -> float:
    require(type(value) in (int, float) and abs(value) < 2**1000 and math.isfinite(value), "it is no finite number")
    return float(value)


def _decode_truth(value: Any, _: _Buffers) -> bool:
    require(isinstance(value, bool), "it is neither true nor false")
    return bool(value)


def _encode_bytes(value: bytes, buffers: list[bytes]) -> int:
    buffers.append(value)
    return len(value)


def _encode_array(value: np.ndarray, buffers: list[bytes]) -> Any:
    if value.dtype.str not in DTYPES or value.ndim > MAX_DIMENSIONS:
        raise TypeError(f"an array of {value.dtype} with {value.ndim} dimensions does not belong in a message")
    buffers.append(value.tobytes())
    return [DTYPES.index(value.dtype.str), list(value.shape)]


def _decode_array(value: Any, buffers: _Buffers) -> np.ndarray:
    require(isinstance(value, list) and len(value) == 2, "it is no array")
    place, shape = value
    require(type(place) is int and 0 <= place < len(DTYPES), "it has no allowed type of numbers")
    require(isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS, "it has no allowed shape")
    require(all(type(n) is int and 0 <= n < 2**31 for n in shape), "it has no allowed shape")
    dtype = np.dtype(DTYPES[place])
    array = np.frombuffer(buffers.take(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
    require(dtype.kind != "f" or bool(np.isfinite(array).all()), "an array is not finite")
    return array.copy()  # it owns its memory, at an aligned address


def _encode_windows(windows: tuple[Window, ...], buffers: list[bytes]) -> Any:
    bounds = np.array([[window.start_seconds, window.end_seconds] for window in windows], dtype="<f8")
    rows = np.array([window.probabilities for window in windows], dtype="<f8")
    return [_encode_array(bounds, buffers), _encode_array(rows, buffers)]


def _decode_windows(value: Any, buffers: _Buffers) -> tuple[Window, ...]:
    bounds, rows = _row((np.ndarray, np.ndarray))[1](value, buffers)
    require(bounds.dtype == rows.dtype == np.float64 and rows.ndim == 2, "they are no windows")
    require(bounds.shape == (len(rows), 2), "they are no windows")
    return tuple(Window(start, end, row) for (start, end), row in zip(bounds.tolist(), rows, strict=True))


def _decode_taxonomy(value: Any, buffers: _Buffers) -> Taxonomy:
    name, labels = _row((str, tuple[str, ...]))[1](value, buffers)
    require(name == OWN or name in TAXONOMIES, "it is no taxonomy")
    require(name != OWN or len(set(labels)) == len(labels) > 0, "its labels are not different")
    return taxonomy_of(name, labels)


def _encode_error(error: CcmusicError, _: list[bytes]) -> Any:
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in ERRORS)
    return [name, [str(argument) for argument in error.args]]


def _decode_error(value: Any, buffers: _Buffers) -> CcmusicError:
    name, texts = _row((str, tuple[str, ...]))[1](value, buffers)
    require(name in ERRORS, "it is no error of a worker")
    try:
        return ERRORS[name](*texts)
    except TypeError:
        raise MalformedMessage("it has not the arguments of its error") from None


_GENERIC: dict[Any, Callable[[tuple[Any, ...]], tuple[Encode, Decode]]] = {
    Literal: _literal,
    Union: _union,
    UnionType: _union,
    tuple: _tuple,
    dict: _mapping,
    Mapping: _mapping,
}

_CODECS: dict[Any, tuple[Encode, Decode]] = {
    str: (lambda value, _: value.encode("utf-8", "backslashreplace").decode(), _decode_text),
    int: (lambda value, _: int(value), _decode_integer),
    float: (lambda value, _: float(value), _decode_number),
    bool: (lambda value, _: bool(value), _decode_truth),
    bytes: (_encode_bytes, lambda value, buffers: bytes(buffers.take(value))),
    Path: (lambda value, _: str(value), _decode_path),
    np.ndarray: (_encode_array, _decode_array),
    tuple[Window, ...]: (_encode_windows, _decode_windows),
    Taxonomy: (lambda value, _: [value.name, list(value.labels)], _decode_taxonomy),
    CcmusicError: (_encode_error, _decode_error),
}
