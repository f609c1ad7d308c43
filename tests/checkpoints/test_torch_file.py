"""PyTorch's files are read without PyTorch; hostile and damaged ones are refused, and nothing is executed."""

from __future__ import annotations

import io
import os
import pickle
import struct
import warnings
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from ccmusic.checkpoints import torch_file
from ccmusic.checkpoints.torch_file import read_torch_file
from ccmusic.errors import ModelFileNotFound, ModelRefused
from support.state_dict_file import (
    complete_pickle,
    dictionary,
    global_name,
    integer,
    pickled_tensors,
    tensor,
    text,
    write_archive,
    write_state_dict,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "save.pt"


def counted(shape, dtype="<f4"):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def refused(path, match):
    with pytest.raises(ModelRefused, match=match) as caught:
        read_torch_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def one_tensor(path, *, kind="Float", elements=6, offset=0, shape=(2, 3), strides=(3, 1), content=None, **options):
    content = counted(6).tobytes() if content is None else content
    record = tensor(kind, "0", elements, offset, shape, strides)
    return write_archive(path, complete_pickle(dictionary({"weight": record})), {"0": content}, **options)


# What is read


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<f2", "<i8", "<i4", "|u1"])
def test_every_number_type_becomes_float32_or_int64(path, dtype):
    array = counted((2, 3), dtype)
    read = read_torch_file(write_state_dict(path, {"x": array, "scalar": array[1, 2]}))
    assert read["x"].dtype == read["scalar"].dtype == (np.float32 if np.dtype(dtype).kind == "f" else np.int64)
    np.testing.assert_array_equal(read["x"], array)
    assert read["scalar"].shape == () and read["scalar"] == 5


def test_bfloat16_is_the_upper_half_of_float32(path):
    values = np.array([1.0, -2.5, 3.140625], np.float32)
    bits = (values.view(np.uint32) >> 16).astype("<u2")
    np.testing.assert_array_equal(read_torch_file(write_state_dict(path, {"x": bits}))["x"], values)


def test_offset_and_strides_are_applied(path):
    read = read_torch_file(one_tensor(path, offset=1, shape=(2, 2), strides=(1, 3)))
    np.testing.assert_array_equal(read["weight"], [[1, 4], [2, 5]])


def test_tensors_may_share_a_storage_and_be_empty(path):
    entries = {
        "left": tensor("Float", "0", 6, 0, (3,), (1,)),
        "right": tensor("Float", "0", 6, 3, (3,), (1,)),
        "none": tensor("Float", "0", 6, 6, (0, 4), (4, 1)),
    }
    read = read_torch_file(write_archive(path, complete_pickle(dictionary(entries)), {"0": counted(6).tobytes()}))
    assert (read["left"].tolist(), read["right"].tolist(), read["none"].shape) == ([0, 1, 2], [3, 4, 5], (0, 4))


def test_float32_is_mapped_from_the_file_without_a_copy(path):
    read = read_torch_file(write_state_dict(path, {"x": counted((2, 3))}))["x"]
    owner = read
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(owner, memoryview) and type(owner.obj).__name__ == "mmap"
    with pytest.raises(ValueError, match="read-only"):
        read[0, 0] = 1


def test_a_compressed_archive_is_read_too(path):
    read = read_torch_file(one_tensor(path, compression=zipfile.ZIP_DEFLATED))
    np.testing.assert_array_equal(read["weight"], counted((2, 3)))


def test_parameters_and_other_values_are_read(path):
    entries, storages = pickled_tensors({"x": counted((2, 3))})
    wrapped = global_name("torch._utils", "_rebuild_parameter") + b"(" + entries["x"] + b"\x88}tR"
    content = dictionary({"x": wrapped, "epoch": integer(3), "names": b"](" + text("a") + text("b") + b"e"})
    read = read_torch_file(write_archive(path, complete_pickle(content), storages))
    assert (read["epoch"], read["names"]) == (3, ["a", "b"])
    np.testing.assert_array_equal(read["x"], counted((2, 3)))


def test_the_writer_and_the_reader_agree_with_torch(path):
    torch = pytest.importorskip("torch")
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.BatchNorm2d(4))
    state = layers.state_dict() | {"half": torch.ones(3).half(), "brain": torch.ones(3).bfloat16()}
    state["turned"] = torch.arange(6.0).reshape(2, 3).T
    expected = {
        key: value.float().numpy() if value.is_floating_point() else value.numpy() for key, value in state.items()
    }
    for protocol in (2, 4):
        torch.save(OrderedDict(state), path, pickle_protocol=protocol)
        read = read_torch_file(path)
        assert read.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(read[key], value, strict=True)
    loaded = torch.load(write_state_dict(path, expected), weights_only=True)
    for key, value in expected.items():
        np.testing.assert_array_equal(loaded[key].numpy(), value, strict=True)


# What is refused: pickles that would execute something


class Calls:
    """Pickles as a call of anything with any arguments."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda canary: Calls(os.system, f"touch {canary}"), f"{os.name}.system"),
        (lambda canary: Calls(eval, f"open({str(canary)!r}, 'w')"), "__builtin__.eval"),
        (lambda canary: OrderedDict(a={"b": [Calls(exec, f"open({str(canary)!r}, 'w')")]}), "__builtin__.exec"),
        (lambda canary: Calls(getattr, Calls(__import__, "os"), "system"), "__builtin__.getattr"),
    ],
    ids=["os.system", "eval", "nested", "import"],
)
def test_a_pickle_that_would_execute_something_is_refused_with_the_name(path, tmp_path, make, named):
    canary = tmp_path / "canary"
    hostile = pickle.dumps(make(canary), protocol=2)
    write_archive(path, hostile, {})
    message = refused(path, "may be an attack; nothing was executed")
    assert repr(named) in message
    assert not canary.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the file that eval leaves open
        pickle.loads(hostile)  # proves that it is hostile
    assert canary.exists() or "getattr" in named


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (global_name("os", "system") + b"(" + text("true") + b"tR", "'os.system'"),
        (text("os") + text("system") + b"\x93(" + text("true") + b"tR", "'os.system'"),
        (global_name("collections", "OrderedDict") + b"(" + text("x") + b"tR", "a call of collections.OrderedDict"),
        (global_name("torch", "FloatStorage") + b")R", "a call of torch.FloatStorage"),
        (global_name("collections", "OrderedDict") + b"}b", "a Global in place of a dict"),
        (text("x") + text("y") + b"\x81", "the operation NEWOBJ"),
        (b"ctorch.nn.modules.container\nSequential\n)R", "a whole module .torch.nn.modules.container.Sequential."),
        (b"(" + text("storage") + text("x") + text("0") + text("cpu") + integer(1) + b"tQ",
         "a storage of unknown kind"),
        (b"(" + text("storage") + global_name("torch", "FloatStorage") + text("0") + text("cpu") + text("1") + b"tQ",
         "a storage of unknown name or size"),
        (b"h\x07", "damaged"),
        (b"}(" + text("x") + integer(1) + text("x") + integer(2) + b"u", "the key 'x' twice"),
        (b"})" + integer(1) + b"s", "a tuple as a key"),
        (b"}" + text("x" * 501) + integer(1) + b"s", "a key of 501 characters"),
    ],
)  # fmt: skip
def test_a_pickle_of_anything_else_is_refused(path, value, message):
    refused(write_archive(path, complete_pickle(value), {}), message)


def test_a_pickle_that_ends_early_is_refused(path):
    complete = complete_pickle(dictionary({"x": integer(1)}))
    for end in range(2, len(complete) - 1):
        refused(write_archive(path, complete[:end], {}), "its pickle")


# What is refused: contradictory numbers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offset": 1}, "'weight' reaches to element 6 of a storage of 6"),
        ({"shape": (3, 3)}, "reaches to element 8"),
        ({"strides": (6, 1)}, "reaches to element 8"),
        ({"offset": -1}, "impossible shape"),
        ({"strides": (-3, 1)}, "impossible shape"),
        ({"shape": (6,)}, "impossible shape"),
        ({"shape": (1,) * 9, "strides": (1,) * 9}, "impossible shape"),
        ({"shape": (1 << 40,), "strides": (0,)}, "more than 536870912 elements"),
        ({"elements": 7}, "has 24 bytes for 7 elements of 4"),
        ({"kind": "Double"}, "has 24 bytes for 6 elements of 8"),
        ({"content": b""}, "has 0 bytes for 6 elements"),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(path, changes, message):
    refused(one_tensor(path, **changes), message)


def doubled(times):
    """The pickle of a pair of the same pair, and so on: short, but endless when printed."""
    return b")" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(times))


def test_a_shape_that_is_endless_when_printed_is_not_printed(path):
    record = tensor("Float", "0", 6, 0, (2, 3), (3, 1))
    flat = b"(" + integer(2) + integer(3) + b"t"
    assert record.count(flat) == 1
    for shape in (doubled(200), b")" + b"\x85" * 5000):
        hostile = complete_pickle(dictionary({"weight": record.replace(flat, shape)}))
        message = refused(write_archive(path, hostile, {"0": counted(6).tobytes()}), "no shape of whole numbers")
        assert len(message) < 300 + len(str(path))


def test_a_dictionary_that_occurs_many_times_is_refused(path):
    inner = b"}(" + b"".join(text(f"{i}") + integer(i) for i in range(200)) + b"u"
    outer = b"}(" + text("x") + inner + b"q\x01" + b"".join(text(f"{i}") + b"h\x01" for i in range(200)) + b"u"
    refused(write_archive(path, complete_pickle(outer), {}), "more than 20000 values")


def test_the_elements_of_all_tensors_are_counted_together(path, monkeypatch):
    monkeypatch.setattr(torch_file, "MAX_ELEMENTS", 11)
    entries = {key: tensor("Float", "0", 6, 0, (6,), (1,)) for key in ("x", "y")}
    refused(
        write_archive(path, complete_pickle(dictionary(entries)), {"0": counted(6).tobytes()}), "more than 11 elements"
    )


# What is refused: archives


def test_a_missing_file(path):
    with pytest.raises(ModelFileNotFound):
        read_torch_file(path)


def test_a_truncated_file_is_refused(path):
    complete = write_state_dict(path, {"x": counted((20, 30))}).read_bytes()
    for end in (0, 1, 3, 30, 500, len(complete) // 2, len(complete) - 30, len(complete) - 1):
        path.write_bytes(complete[:end])
        refused(path, "fetch")


def test_a_changed_byte_is_detected(path):
    complete = bytearray(write_state_dict(path, {"x": counted((20, 30))}).read_bytes())
    complete[complete.find(counted((20, 30)).tobytes()) + 7] ^= 1
    path.write_bytes(complete)
    refused(path, "save/data/0 is not what was written")


def test_two_entries_of_one_name_are_refused(path):
    one_tensor(path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("save/data/0", counted(6).tobytes())
    refused(path, "two entries of one name")


def test_entries_that_overlap_are_refused(path):
    entries = {key: tensor("Float", key, 600, 0, (600,), (1,)) for key in ("0", "1")}
    raw = bytearray(
        write_archive(path, complete_pickle(dictionary(entries)), {"0": counted(600).tobytes(), "1": b""}).read_bytes()
    )
    first, second = (raw.rfind(b"save/data/" + key) - 46 for key in (b"0", b"1"))
    raw[second + 16 : second + 28] = raw[first + 16 : first + 28]  # CRC-32 and sizes
    raw[second + 42 : second + 46] = raw[first + 42 : first + 46]  # and the offset
    path.write_bytes(raw)
    refused(path, "its entries overlap")


@pytest.mark.parametrize("where", ["pickle", "storage"])
def test_an_entry_that_grows_when_unpacked_is_refused(path, where):
    zeros = bytes(torch_file.MAX_DEFLATED_BYTES + 4)
    record = tensor("Float", "0", len(zeros) // 4, 0, (1,), (1,))
    pickled = complete_pickle(dictionary({"x": record})) if where == "storage" else zeros
    write_archive(path, pickled, {"0": zeros}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1_000_000
    refused(path, "more than 8388608" if where == "pickle" else "torch.save compresses nothing")


def test_an_entry_with_too_small_a_size_in_the_directory_is_refused(path):
    one_tensor(path, compression=zipfile.ZIP_DEFLATED, content=bytes(10_000))
    raw = bytearray(path.read_bytes())
    entry = raw.find(b"PK\x01\x02", raw.find(b"PK\x01\x02", raw.find(b"PK\x01\x02") + 1) + 1)
    assert raw[entry + 46 : entry + 57] == b"save/data/0"
    raw[entry + 24 : entry + 28] = struct.pack("<I", 24)
    path.write_bytes(raw)
    refused(path, "save/data/0")


def test_an_entry_with_a_wrong_offset_is_refused(path):
    raw = bytearray(one_tensor(path).read_bytes())
    directory = raw.find(b"PK\x01\x02")
    for offset in (7, len(raw) + 1000):
        raw[directory + 42 : directory + 46] = struct.pack("<I", offset)
        path.write_bytes(raw)
        refused(path, "is not where it should be")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "before 1.6.*save it again with torch.save"),
        (pickle.dumps({"x": 1}), "a bare pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html>", "not a file that torch.save wrote"),
    ],
)
def test_the_error_names_other_formats(path, content, message):
    path.write_bytes(content)
    refused(path, message)


def test_the_error_names_other_formats_of_torch(path):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(2, 2)
    torch.save(layer.state_dict(), path, _use_new_zipfile_serialization=False)
    refused(path, "before 1.6")
    torch.save(layer, path)
    refused(path, r"a whole module \(torch.nn.modules.linear.Linear\)")


def test_the_error_names_other_archives(path):
    for entry, message in (
        ("model/config.json", "not one that torch.save wrote"),
        ("save/constants.pkl", "TorchScript"),
    ):
        one_tensor(path)
        if entry.startswith("model"):
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                archive.writestr(entry, "{}")
            path.write_bytes(buffer.getvalue())
        else:
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(entry, b"")
        refused(path, message)


def test_a_big_endian_file_is_refused(path):
    one_tensor(path)
    raw = path.read_bytes().replace(b"little", b"bigbig")
    path.write_bytes(raw)
    refused(path, "CRC-32")  # the entry was changed
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("save/data.pkl", complete_pickle(b"}"))
        archive.writestr("save/byteorder", b"big")
    refused(path, "big-endian")
