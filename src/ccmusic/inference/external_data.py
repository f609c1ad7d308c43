"""Whether an ONNX file keeps weights in other files. Their bytes are not in the hash of the card."""

from __future__ import annotations

from collections.abc import Iterator

_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""By kind of message in onnx.proto: the numbers of the fields whose messages may contain a tensor, and their kinds."""
EXTERNAL_DATA = 13
"""The field of a TensorProto that names another file."""


def has_external_data(model: bytes) -> bool:
    """Whether a tensor of the network is in another file; also False for bytes that are no ONNX file.

    The runtimes would read such a file from the working directory, even if they get the network as bytes.

    Parameters
    ----------
    model : bytes
        Content of an ONNX file.
    """
    pending = [("model", 0, len(model))]
    try:
        while pending:
            kind, start, end = pending.pop()
            for number, first, last in _messages(model, start, end):
                if kind == "tensor" and number == EXTERNAL_DATA:
                    return True
                if (inside := _INSIDE[kind].get(number)) is not None:
                    pending.append((inside, first, last))
    except (IndexError, ValueError):
        pass  # not a protocol buffer: the runtime refuses it, with its own reason
    return False


def _messages(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of a message that has a length."""
    while start < end:
        key, start = _varint(data, start)
        match key & 7:
            case 0:
                _, start = _varint(data, start)
            case 1:
                start += 8
            case 2:
                length, start = _varint(data, start)
                if start + length > end:
                    raise ValueError("a field is longer than its message")
                yield key >> 3, start, start + length
                start += length
            case 5:
                start += 4
            case _:
                raise ValueError("no such type of field")


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """The number at this place, 7 bits to a byte, and the place behind it."""
    value = 0
    for place in range(10):
        byte = data[start + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, start + place + 1
    raise ValueError("a number is too long")
