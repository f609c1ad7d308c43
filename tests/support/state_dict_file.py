"""Writes PyTorch's file format without PyTorch, to make valid and damaged checkpoints."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

STORAGES = {"f4": "Float", "f8": "Double", "f2": "Half", "u2": "BFloat16", "i8": "Long", "i4": "Int", "u1": "Byte"}
"""Storage classes by numpy type; numpy has no bfloat16, so its bits are written as uint16."""
ALIGNMENT = 64


def text(value: str) -> bytes:
    """The pickle of a string."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    """The pickle of an int of any size."""
    raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def global_name(module: str, attribute: str) -> bytes:
    """The pickle of a class or function, which Python's unpickler would import."""
    return f"c{module}\n{attribute}\n".encode()


def tensor(kind: str, key: str, elements: int, offset: int, shape: tuple, strides: tuple) -> bytes:
    """The pickle of one tensor in the storage ``data/<key>``."""
    storage = (
        b"(" + text("storage") + global_name("torch", f"{kind}Storage") + text(key) + text("cpu") + integer(elements)
    )
    sizes = b"".join(b"(" + b"".join(map(integer, numbers)) + b"t" for numbers in (shape, strides))
    hooks = global_name("collections", "OrderedDict") + b")R"
    return (
        global_name("torch._utils", "_rebuild_tensor_v2")
        + b"("
        + storage
        + b"tQ"
        + integer(offset)
        + sizes
        + b"\x89"
        + hooks
        + b"tR"
    )


def dictionary(entries: Mapping[str, bytes]) -> bytes:
    """The pickle of an OrderedDict of pickled values, with the attribute ``_metadata``, as every state_dict has it."""
    items = b"".join(text(key) + value for key, value in entries.items())
    return global_name("collections", "OrderedDict") + b")R(" + items + b"u}" + text("_metadata") + b"}sb"


def complete_pickle(value: bytes) -> bytes:
    """A pickle with its first and last operation."""
    return b"\x80\x02" + value + b"."


def write_archive(
    path: Path, pickled: bytes, storages: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED
) -> Path:
    """Write an archive of a pickle and its storages, with torch's alignment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = {"data.pkl": pickled, "byteorder": b"little"}
    entries |= {f"data/{key}": content for key, content in storages.items()} | {"version": b"3\n"}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry, content in entries.items():
            info = zipfile.ZipInfo(f"{path.stem}/{entry}")
            info.compress_type = compression
            unaligned = archive.fp.tell() + 30 + len(info.filename) + 4
            padding = -unaligned % ALIGNMENT
            info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            archive.writestr(info, content)
    return path


def pickled_tensors(state: Mapping[str, np.ndarray]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Pickles of contiguous tensors by key, and their storages by number."""
    entries, storages = {}, {}
    for number, (key, array) in enumerate(state.items()):
        strides = tuple(step // array.itemsize for step in np.zeros(array.shape, array.dtype).strides)
        entries[key] = tensor(STORAGES[array.dtype.str[1:]], str(number), array.size, 0, array.shape, strides)
        storages[str(number)] = array.tobytes()
    return entries, storages


def write_state_dict(path: Path, state: Mapping[str, np.ndarray]) -> Path:
    """Write the file that ``torch.save(state_dict, path)`` writes."""
    entries, storages = pickled_tensors(state)
    return write_archive(path, complete_pickle(dictionary(entries)), storages)
