"""The state_dict of a checkpoint: read it, recognise which network it belongs to, and check every key.

A checkpoint of ccMusic is a folder with a ``save.pt``, a PyTorch state_dict. The folder is named for the backbone and
the spectrogram. The original app loads it non-strictly, so a wrong file gives meaningless answers; here every key must
match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ccmusic.checkpoints.architectures import ARCHITECTURES, CHECKPOINTS, Expected, manifest
from ccmusic.checkpoints.pickle_records import SAVE_AGAIN
from ccmusic.checkpoints.torch_file import read_torch_file
from ccmusic.errors import InvalidParameter, ModelRefused
from ccmusic.models.store import CHECKPOINT_NAME

FEATURES = ("cqt", "mel")
MAX_KEYS = 10_000
WRAPPERS = ("state_dict", "model")
SHOWN = 3
"""How many keys an error names; it counts the others."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Which network a checkpoint belongs to.

    Attributes
    ----------
    path : Path
        The file.
    backbone : str
        One of `ccmusic.checkpoints.architectures.ARCHITECTURES`.
    spectrogram : str
        The input from which its pictures are drawn, ``cqt`` or ``mel``.
    n_labels : int
        Number of classes.
    width : float
        Number of channels as a share of torchvision's; 1.0 for ccMusic's own checkpoints.
    """

    path: Path
    backbone: str
    spectrogram: str
    n_labels: int
    width: float = 1.0

    @property
    def name(self) -> str:
        """Backbone and spectrogram, as in the names of ccMusic's folders."""
        return f"{self.backbone}_{self.spectrogram}"


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Read a checkpoint's parameters without torch, and without executing anything in it.

    Parameters
    ----------
    path : Path
        A file that ``torch.save`` wrote, or a folder with ``save.pt``. The state_dict may be the value of the key
        ``state_dict`` or ``model``. The prefix ``module.`` (of DataParallel) is removed if all keys have it. The names
        that older torchvisions gave ViT's layers become the present ones.

    Returns
    -------
    dict of str to np.ndarray
        Floating-point parameters as float32, all others as int64, read-only. Arrays that have this type in the file
        are mapped from it, so the file must not be changed while they are used.

    Raises
    ------
    ModelFileNotFound
        There is no such file.
    ModelRefused
        It is not a state_dict, or is damaged or hostile; the text says which, and what to do.
    """
    path = _file(path)
    content = read_torch_file(path)
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not content:
        what = "an empty dictionary" if content == {} else f"a single {type(content).__name__}"
        raise ModelRefused(f"{path}: it holds {what}, not a state_dict: {SAVE_AGAIN}")
    if len(content) > MAX_KEYS:
        raise ModelRefused(f"{path}: it has {len(content)} keys, more than {MAX_KEYS}: {SAVE_AGAIN}")
    if strange := [key for key, value in content.items() if not _is_parameter(key, value)]:
        raise ModelRefused(
            f"{path}: it holds {_some(strange)} beside parameters, so it is not a state_dict: {SAVE_AGAIN}"
        )
    prefix = "module." if all(key.startswith("module.") for key in content) else ""
    renamed = {_present_name(key.removeprefix(prefix)): value for key, value in content.items()}
    if len(renamed) < len(content):
        raise ModelRefused(f"{path}: it holds the same parameter under an old and a new name: {SAVE_AGAIN}")
    return renamed


def recognise(path: Path, state: Mapping[str, np.ndarray], features: str | None = None) -> Checkpoint:
    """Find out the backbone and the spectrogram of a checkpoint from its folder's name and its keys.

    Parameters
    ----------
    path : Path
        For example ``vgg19_bn_cqt/save.pt`` or ``vgg19_bn_cqt.pt``; ``_16cls_<date>`` may follow the name.
    state : Mapping of str to np.ndarray
    features : {"cqt", "mel"} or None
        The spectrogram; required where no name says it.

    Returns
    -------
    Checkpoint

    Raises
    ------
    InvalidParameter
        `features` is required, or contradicts the name.
    ModelRefused
        The keys belong to no known backbone, or to another one than the name says, or the head is not ccMusic's.
    """
    path = _file(path)
    named = {match.groups() for name in (path.parent.name, path.stem) if (match := _NAME.match(name))}
    if len(named) > 1:
        raise ModelRefused(f"{path}: its folder and its file are named for different checkpoints; rename one of them")
    backbone = _backbone_by_keys(path, state)
    named_backbone, named_spectrogram = named.pop() if named else (backbone, None)
    if backbone != named_backbone:
        raise ModelRefused(
            f"{path}: it is named {named_backbone}_{named_spectrogram}, but its keys are those of {backbone}; "
            f"put it into a folder named {backbone}_cqt or {backbone}_mel, or fetch the right file"
        )
    if features is not None and features not in FEATURES:
        raise InvalidParameter("features", f"must be one of {', '.join(FEATURES)}, not {features!r}")
    if features is None and named_spectrogram is None:
        raise InvalidParameter(
            "features",
            f"must be cqt or mel for {path}: neither its folder nor its file has a name such as {backbone}_cqt, "
            "and the keys do not show which spectrogram it was trained on",
        )
    if features is not None and named_spectrogram not in {None, features}:
        raise InvalidParameter(
            "features", f"must be {named_spectrogram}, as the name {backbone}_{named_spectrogram} says, not {features}"
        )
    architecture = ARCHITECTURES[backbone]
    for key, axes in ((architecture.last_layer, 2), (architecture.stem, 4)):
        if key not in state or state[key].ndim != axes or not len(state[key]):
            raise ModelRefused(
                f"{path}: it has no matrix {key!r}, so it is not {backbone} with ccMusic's head; fetch save.pt again"
            )
    n_labels = len(state[architecture.last_layer])
    return Checkpoint(path, backbone, features or str(named_spectrogram), n_labels, architecture.width(state))


def check(state: Mapping[str, np.ndarray], expected: Mapping[str, Expected]) -> None:
    """Compare every key, shape and type with a manifest, and check that every weight is a finite number.

    Parameters
    ----------
    state : Mapping of str to np.ndarray
    expected : Mapping of str to Expected
        As `ccmusic.checkpoints.architectures.manifest` gives it.

    Raises
    ------
    ModelRefused
        Something differs; the text names the first keys of each kind and counts the others.
    """
    missing = [repr(key) for key, entry in expected.items() if key not in state and not entry.optional]
    unexpected = [repr(key) for key in state if key not in expected]
    differing = [
        f"{key!r} is {state[key].dtype} {list(state[key].shape)}, not {entry.dtype} {list(entry.shape)}"
        for key, entry in expected.items()
        if key in state and (state[key].shape != entry.shape or state[key].dtype != entry.dtype)
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape or type": differing}
    counts = [f"{len(keys)} {fault} ({_some(keys)})" for fault, keys in faults.items() if keys]
    if counts:
        raise ModelRefused(
            f"of {len(expected)} parameters {'; '.join(counts)}: it is another network, or damaged; "
            "fetch the file again"
        )
    if others := [
        repr(key)
        for key, entry in expected.items()
        if entry.values is not None and not np.array_equal(state[key], entry.values)
    ]:
        raise ModelRefused(
            f"{_some(others)} differs from this architecture's: it is another network; fetch the file again"
        )
    if strange := [repr(key) for key, value in state.items() if not _finite(value)]:
        raise ModelRefused(f"NaN or infinity in {_some(strange)}: the file is damaged or its training failed")


_BACKBONES = "|".join(sorted({backbone for backbone, _ in CHECKPOINTS.values()}))
_NAME = re.compile(rf"({_BACKBONES})_({'|'.join(FEATURES)})(?:_\d+cls(?:_.*)?)?\Z")


def _file(path: Path) -> Path:
    return path / CHECKPOINT_NAME if path.is_dir() else path


def _is_parameter(key: Any, value: Any) -> bool:
    return isinstance(key, str) and isinstance(value, np.ndarray)


def _present_name(key: str) -> str:
    return re.sub(r"\.mlp\.linear_([12])\.", lambda match: f".mlp.{'0' if match[1] == '1' else '3'}.", key)


def _backbone_by_keys(path: Path, state: Mapping[str, np.ndarray]) -> str:
    shares = {}
    for name in ARCHITECTURES:
        keys = manifest(name, n_labels=2).keys()
        shares[name] = len(keys & state.keys()) / len(keys)
    best = max(shares, key=shares.__getitem__)
    if shares[best] < 0.5:
        raise ModelRefused(
            f"{path}: its keys ({_some([repr(key) for key in state])}) belong to no known backbone; "
            f"known are {', '.join(ARCHITECTURES)}"
        )
    return best


def _finite(value: np.ndarray) -> bool:
    # min and max are NaN if any value is, and unlike isfinite they allocate no array as large as the weights
    return value.dtype.kind != "f" or not value.size or bool(np.isfinite(value.min()) and np.isfinite(value.max()))


def _some(keys: list[str]) -> str:
    return ", ".join(map(str, keys[:SHOWN])) + (f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else "")
