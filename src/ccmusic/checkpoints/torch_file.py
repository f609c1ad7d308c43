"""Reads PyTorch's file format (a zip archive since 1.6) without PyTorch.

The archive holds a pickle that describes tensors, and one uncompressed entry for the bytes of each storage. The bytes
are mapped into memory, not copied. The sizes, offsets and strides in the pickle are checked against them.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ccmusic.checkpoints.pickle_records import SAVE_AGAIN, StorageRecord, TensorRecord, read_records
from ccmusic.errors import ModelFileNotFound, ModelRefused

MAX_ENTRIES = 20_000
MAX_PICKLE_BYTES = 8 << 20
MAX_DEFLATED_BYTES = 64 << 20
"""torch.save does not compress, so this limits archives that were packed again."""
MAX_ELEMENTS = 1 << 29
"""In all tensors together: 2 GiB in float32, more than fits into one ONNX file."""
MAX_DIMENSIONS = 8
MAX_VALUES = 20_000
"""In the pickle's dictionaries; a value that occurs in several places counts each time."""

_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_DTYPES = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    "torch.BFloat16Storage": "<u2",  # unknown to numpy: the upper half of a float32
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
    "torch.BoolStorage": "<u1",
}


def read_torch_file(path: Path) -> Any:
    """The content of a file that ``torch.save`` wrote, with arrays for tensors.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict, or a saved value of another type
        Floating-point tensors are float32 and all others int64, read-only; views of the file where their type in it is
        the same.

    Raises
    ------
    ModelFileNotFound
        There is no such file.
    ModelRefused
        It is another kind of file, or damaged or hostile; the text begins with the path and says what to do.
    """
    try:
        with _opened(path) as archive:
            return _Archive(path, archive).read()
    except FileNotFoundError:
        raise ModelFileNotFound(str(path)) from None
    except ModelRefused as error:
        raise ModelRefused(f"{path}: {error}") from error.__cause__
    except OSError as error:
        raise ModelRefused(f"{path}: it cannot be read: {error.strerror}") from error


class _Archive:
    """The zip archive, with counts of what was read from it, for the limits above."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._zip = archive
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES:
            raise ModelRefused(f"it has {len(entries)} entries, more than {MAX_ENTRIES}: {SAVE_AGAIN}")
        self._entries = {entry.filename: entry for entry in entries}
        if len(self._entries) < len(entries):
            raise ModelRefused("it holds two entries of one name, and which one counts is not defined: fetch it again")
        if sum(entry.compress_size for entry in entries) > len(self._bytes):
            raise ModelRefused("its entries overlap, which torch.save never writes: fetch it again")
        self._values = 0
        self._elements = 0
        self._deflated_bytes = 0
        self._storages: dict[StorageRecord, np.ndarray] = {}

    def read(self) -> Any:
        pickles = [name for name in self._entries if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise ModelRefused(f"it is a zip archive, but not one that torch.save wrote: {SAVE_AGAIN}")
        prefix = pickles[0].removesuffix("data.pkl")
        if f"{prefix}constants.pkl" in self._entries:
            raise ModelRefused(f"it is TorchScript, which holds code, not a state_dict: {SAVE_AGAIN}")
        order = f"{prefix}byteorder"
        if order in self._entries and bytes(self._content(order, 16)) != b"little":
            raise ModelRefused(f"it was written on a big-endian machine; on a little-endian one {SAVE_AGAIN}")
        records = read_records(bytes(self._content(pickles[0], MAX_PICKLE_BYTES)))
        return self._arrays(records, f"{prefix}data/", where="")

    def _arrays(self, value: Any, folder: str, where: str, depth: int = 0) -> Any:
        """The value with an array for each `TensorRecord`; dictionaries are entered two levels deep at most."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise ModelRefused(f"it holds more than {MAX_VALUES} values, which no state_dict here has: {SAVE_AGAIN}")
        if isinstance(value, TensorRecord):
            return self._tensor(value, folder, where)
        if isinstance(value, dict) and depth < 2:
            return {key: self._arrays(entry, folder, str(key), depth + 1) for key, entry in value.items()}
        return value

    def _tensor(self, record: TensorRecord, folder: str, key: str) -> np.ndarray:
        storage = self._storage(record.storage, folder)
        shape, strides, offset = record.shape, record.strides, record.offset
        numbers = (*shape, *strides, offset) if isinstance(shape, tuple) and isinstance(strides, tuple) else (None,)
        if any(type(n) is not int for n in numbers):  # not printed: nested tuples can be endless as text
            raise ModelRefused(f"{key!r} has no shape of whole numbers: the file is damaged or hostile, fetch it again")
        if min(numbers) < 0 or not len(shape) == len(strides) <= MAX_DIMENSIONS:
            raise ModelRefused(
                f"{key!r} has the impossible shape {shape[:9]}, strides {strides[:9]}, offset {offset}: the file is "
                "damaged or hostile, fetch it again"
            )
        elements = 1
        for size in shape:
            elements *= size
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if elements and last >= len(storage):
            raise ModelRefused(
                f"{key!r} reaches to element {last} of a storage of {len(storage)}: the file is damaged or hostile, "
                "fetch it again"
            )
        self._elements += elements
        if self._elements > MAX_ELEMENTS:
            raise ModelRefused(f"its tensors have more than {MAX_ELEMENTS} elements, which no model here has")
        steps = [stride * storage.itemsize for stride in strides]
        view = np.ndarray(shape, storage.dtype, storage, offset * storage.itemsize, steps) if elements else storage[:0]
        array = _converted(np.ascontiguousarray(view).reshape(shape), record.storage.kind)
        array.flags.writeable = False
        return array

    def _storage(self, record: StorageRecord, folder: str) -> np.ndarray:
        if record not in self._storages:
            dtype = np.dtype(_DTYPES[record.kind])
            name = folder + record.key
            if name not in self._entries:
                raise ModelRefused(f"the entry {name} is missing: fetch the file again")
            content = self._content(name, None)
            if len(content) != record.elements * dtype.itemsize:
                raise ModelRefused(
                    f"the entry {name} has {len(content)} bytes for {record.elements} elements of "
                    f"{dtype.itemsize}: the file is damaged or hostile, fetch it again"
                )
            self._storages[record] = np.frombuffer(content, dtype)
        return self._storages[record]

    def _content(self, name: str, limit: int | None) -> memoryview:
        """The bytes of one entry, checked against its CRC-32; a view of the file if the entry is not compressed."""
        entry = self._entries[name]
        if limit is not None and entry.file_size > limit:
            raise ModelRefused(f"the entry {name} has {entry.file_size} bytes, more than {limit}: {SAVE_AGAIN}")
        if entry.flag_bits & 1 or entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise ModelRefused(f"the entry {name} is encrypted, or compressed in an unknown way: {SAVE_AGAIN}")
        content = self._mapped(entry) if entry.compress_type == zipfile.ZIP_STORED else self._inflated(entry)
        if zlib.crc32(content) != entry.CRC:
            raise ModelRefused(f"the entry {name} is not what was written (its CRC-32 differs): fetch the file again")
        return content

    def _mapped(self, entry: zipfile.ZipInfo) -> memoryview:
        start = entry.header_offset
        header = self._bytes[start : start + _LOCAL_HEADER.size]
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise ModelRefused(f"the entry {entry.filename} is not where it should be: fetch the file again")
        _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        start += _LOCAL_HEADER.size + name_length + extra_length
        if start + entry.file_size > len(self._bytes):
            raise ModelRefused(f"the entry {entry.filename} reaches past the file's end: fetch the file again")
        return memoryview(self._bytes)[start : start + entry.file_size]

    def _inflated(self, entry: zipfile.ZipInfo) -> memoryview:
        self._deflated_bytes += entry.file_size
        if self._deflated_bytes > MAX_DEFLATED_BYTES:
            raise ModelRefused(
                f"its compressed entries, up to {entry.filename}, claim more than {MAX_DEFLATED_BYTES} bytes, and "
                f"torch.save compresses nothing: {SAVE_AGAIN}"
            )
        try:
            with self._zip.open(entry) as stream:
                content = stream.read(entry.file_size + 1)  # zipfile itself stops at the size that the entry claims
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ModelRefused(f"the entry {entry.filename} is damaged: fetch the file again") from error
        return memoryview(content)


def _opened(path: Path) -> zipfile.ZipFile:
    with path.open("rb") as file:
        _refuse_other_formats(file.read(64))
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error) as error:
        raise ModelRefused("it is cut short or damaged: fetch the file again") from error


def _converted(array: np.ndarray, kind: str) -> np.ndarray:
    if kind == "torch.BFloat16Storage":
        return (array.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # a value that does not fit becomes infinite, and is refused later
        return array.astype(np.float32 if array.dtype.kind == "f" else np.int64, copy=False)


def _refuse_other_formats(start: bytes) -> None:
    if start.startswith(b"PK"):
        return
    if start.startswith(_LEGACY_MAGIC):
        raise ModelRefused(
            f"it has the format that PyTorch wrote before 1.6, whose pickle is not read here: {SAVE_AGAIN}"
        )
    if start.startswith(b"version https://git-lfs"):
        raise ModelRefused("it is a Git LFS pointer, not the file itself: fetch it with git lfs pull, or download it")
    if start.startswith(b"\x80"):
        raise ModelRefused(f"it is a bare pickle, which is not read here: {SAVE_AGAIN}")
    raise ModelRefused("it is not a file that torch.save wrote: fetch save.pt again")
