"""Reads the pickle of a state_dict as data: no name in it is looked up, and nothing in it is called.

Python's own unpickler calls any function that a pickle names, so a downloaded checkpoint can execute commands. Here
`pickletools.genops` decodes the operations without executing them, and an interpreter handles the few that
``torch.save`` writes for a state_dict. It has no code that imports or calls, so a pickle cannot make it do either.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ccmusic.errors import ModelRefused

# The end of an error text.
SAVE_AGAIN = "where the model was made, save it again with torch.save(model.state_dict(), ...)"

ORDERED_DICT = "collections.OrderedDict"
REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"
REBUILD_PARAMETER = "torch._utils._rebuild_parameter"
STORAGES = frozenset(
    f"torch.{kind}Storage"
    for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
)
MAX_NAME = 500
"""In characters, of a key or of a storage; torchvision's longest has 70."""
_ALLOWED = frozenset({ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER}) | STORAGES


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or function in the pickle; it is never looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class StorageRecord:
    """The storage of one or several tensors: element type, entry name within ``data/``, number of elements."""

    kind: str
    key: str
    elements: int


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor as the pickle describes it; not validated yet."""

    storage: StorageRecord
    offset: Any
    shape: Any
    strides: Any


class _UnexpectedOperation(Exception):
    """The pickle does something that no state_dict needs."""


_MARK = object()


class _Interpreter:
    """Executes the operations on a stack of plain values and records."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                break
            self._step(opcode.name, argument)
        (value,) = self._stack
        return value

    def _step(self, name: str, argument: Any) -> None:  # noqa: PLR0912 -- one arm for each kind of operation
        stack = self._stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "GLOBAL" | "STACK_GLOBAL":
                parts = argument.split(" ", 1) if name == "GLOBAL" else [stack.pop(-2), stack.pop()]
                stack.append(_allowed_global(".".join(parts)))
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                stack.append(argument)
            case "BINFLOAT":
                stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_TUPLE" | "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}.get(name)
                stack.append(tuple(self._pop_to_mark() if count is None else self._pop(count)))
            case "EMPTY_LIST" | "EMPTY_DICT":
                stack.append([] if name == "EMPTY_LIST" else {})
            case "APPEND" | "APPENDS":
                values = self._pop(1) if name == "APPEND" else self._pop_to_mark()
                self._top(list).extend(values)
            case "SETITEM" | "SETITEMS":
                values = self._pop(2) if name == "SETITEM" else self._pop_to_mark()
                _set_items(self._top(dict), values)
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "BINPERSID":
                stack.append(_storage_record(*stack.pop()))
            case "REDUCE":
                called, arguments = self._pop(2)
                stack.append(_apply(called, arguments))
            case "BUILD":
                stack.pop()  # attributes, such as a state_dict's _metadata, are dropped
                self._top(dict)
            case _:
                raise _UnexpectedOperation(f"the operation {name}")

    def _pop(self, count: int) -> list[Any]:
        if count > len(self._stack):
            raise _UnexpectedOperation("too few values")
        values = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return values

    def _pop_to_mark(self) -> list[Any]:
        values = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _top(self, kind: Callable[..., Any]) -> Any:
        if type(self._stack[-1]) is not kind:
            raise _UnexpectedOperation(f"a {type(self._stack[-1]).__name__} in place of a {kind.__name__}")
        return self._stack[-1]


def _allowed_global(name: str) -> Global:
    if name in _ALLOWED:
        return Global(name)
    name = name[:MAX_NAME]
    if name.startswith(("torch.nn.", "torchvision.")):
        raise ModelRefused(f"it holds a whole module ({name}), not a state_dict; nothing was executed: {SAVE_AGAIN}")
    raise ModelRefused(
        f"its pickle names {name!r}, which does not belong in a state_dict and may be an attack; nothing was executed: "
        f"fetch the file from where it was published, or {SAVE_AGAIN}"
    )


def _set_items(target: dict[Any, Any], values: list[Any]) -> None:
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not isinstance(key, str | int):
            raise _UnexpectedOperation(f"a {type(key).__name__} as a key")
        if isinstance(key, str) and len(key) > MAX_NAME:
            raise _UnexpectedOperation(f"a key of {len(key)} characters")
        if key in target:
            raise ModelRefused(f"it holds the key {key!r} twice: {SAVE_AGAIN}")
        target[key] = value


def _storage_record(*identity: Any) -> StorageRecord:
    tag, kind, key, _location, elements = identity
    if tag != "storage" or not isinstance(kind, Global) or kind.name not in STORAGES or not isinstance(key, str):
        raise _UnexpectedOperation("a storage of unknown kind")
    if len(key) > MAX_NAME or type(elements) is not int:
        raise _UnexpectedOperation("a storage of unknown name or size")
    return StorageRecord(kind.name, key, elements)


def _apply(called: Any, arguments: Any) -> Any:
    match called, arguments:
        case Global(name=name), () if name == ORDERED_DICT:
            return {}
        case Global(name=name), (StorageRecord() as storage, offset, shape, strides, _, _, *_) if (
            name == REBUILD_TENSOR
        ):
            return TensorRecord(storage, offset, shape, strides)
        case Global(name=name), (TensorRecord() as tensor, _, _) if name == REBUILD_PARAMETER:
            return tensor
    raise _UnexpectedOperation(f"a call of {called.name if isinstance(called, Global) else type(called).__name__}")


def read_records(data: bytes) -> Any:
    """The content of a pickle of a state_dict.

    Parameters
    ----------
    data : bytes
        The entry ``data.pkl`` of a file that ``torch.save`` wrote.

    Returns
    -------
    dict of str, or the pickle's value of another type
        Tensors are `TensorRecord`; the other values are dict, list, tuple, str, int, float, bool and None.

    Raises
    ------
    ModelRefused
        It names something that does not belong in a state_dict, or is damaged.
    """
    try:
        return _Interpreter().run(data)
    except _UnexpectedOperation as error:
        raise ModelRefused(f"its pickle has {error}, which no state_dict needs: {SAVE_AGAIN}") from error
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise ModelRefused(f"its pickle is damaged ({error}): fetch the file again") from error
