"""ccMusic's public checkpoints: read as data, recognised by name and by keys, and checked key for key.

A checkpoint is a folder named for its backbone and its spectrogram with a ``save.pt`` inside, a PyTorch state_dict.
Upstream loads it non-strictly, so that a wrong file answers nonsense; here every key must match.
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

FILE_NAME = "save.pt"
SPECTROGRAMS = ("cqt", "mel")
MAX_KEYS = 10_000
WRAPPERS = ("state_dict", "model")
SHOWN = 3
"""How many keys of a kind an error names."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint is.

    Attributes
    ----------
    path : Path
        The file.
    backbone : str
        One of `ccmusic.checkpoints.architectures.ARCHITECTURES`.
    spectrogram : str
        What its pictures are drawn from, ``cqt`` or ``mel``.
    n_labels : int
        Classes that it tells apart.
    width : float
        Share of the backbone's channels; 1.0 for ccMusic's own.
    """

    path: Path
    backbone: str
    spectrogram: str
    n_labels: int
    width: float = 1.0

    @property
    def name(self) -> str:
        """Backbone and spectrogram, as ccMusic names its folders."""
        return f"{self.backbone}_{self.spectrogram}"


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Read a checkpoint's parameters without torch, and without running anything in it.

    Parameters
    ----------
    path : Path
        A file that ``torch.save`` wrote, or a folder with ``save.pt`` inside. The state_dict may lie under
        ``state_dict`` or ``model``, and all of its keys may begin with ``module.`` (as DataParallel writes them), which
        is taken off; the names that older torchvisions gave ViT's layers become today's.

    Returns
    -------
    dict of str to np.ndarray
        Floating-point parameters as float32, all others as int64, read-only; mapped from the file where it holds
        them so, which must therefore not be changed while they are used.

    Raises
    ------
    ModelFileNotFound
        There is no such file.
    ModelRefused
        It is not a state_dict, is damaged, or is hostile; the text says which and what to do.
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
        raise ModelRefused(f"{path}: it holds {_some(strange)} beside parameters, so it is no state_dict: {SAVE_AGAIN}")
    prefix = "module." if all(key.startswith("module.") for key in content) else ""
    renamed = {_todays_name(key.removeprefix(prefix)): value for key, value in content.items()}
    if len(renamed) < len(content):
        raise ModelRefused(f"{path}: it holds the same parameter under an old and a new name: {SAVE_AGAIN}")
    return renamed


def recognise(path: Path, state: Mapping[str, np.ndarray], features: str | None = None) -> Checkpoint:
    """Tell which backbone a checkpoint is for, and which spectrogram, by its folder's name and by its keys.

    Parameters
    ----------
    path : Path
        Where it lies: ``vgg19_bn_cqt/save.pt``, ``vgg19_bn_cqt.pt``, or with ``_16cls_<date>`` after it.
    state : Mapping of str to np.ndarray
    features : {"cqt", "mel"} or None
        The spectrogram, needed where no name says it.

    Returns
    -------
    Checkpoint

    Raises
    ------
    InvalidParameter
        `features` is needed, or contradicts the name.
    ModelRefused
        The keys are those of no backbone here, or of another than the name says, or the head is not ccMusic's.
    """
    path = _file(path)
    named = {match.groups() for name in (path.parent.name, path.stem) if (match := _NAME.match(name))}
    if len(named) > 1:
        raise ModelRefused(f"{path}: its folder and its file are named for different checkpoints; rename one of them")
    backbone = _backbone_by_keys(path, state)
    said_backbone, said_spectrogram = named.pop() if named else (backbone, None)
    if backbone != said_backbone:
        raise ModelRefused(
            f"{path}: it is named {said_backbone}_{said_spectrogram}, but its keys are those of {backbone}; "
            f"put it into a folder named {backbone}_cqt or {backbone}_mel, or fetch the right file"
        )
    if features is not None and features not in SPECTROGRAMS:
        raise InvalidParameter("features", f"must be one of {', '.join(SPECTROGRAMS)}, not {features!r}")
    if features is None and said_spectrogram is None:
        raise InvalidParameter(
            "features",
            f"must be cqt or mel for {path}: no folder is named for a checkpoint such as {backbone}_cqt, "
            "and the keys do not tell what its pictures were drawn from",
        )
    if features is not None and said_spectrogram not in {None, features}:
        raise InvalidParameter(
            "features", f"must be {said_spectrogram}, as the name {backbone}_{said_spectrogram} says, not {features}"
        )
    architecture = ARCHITECTURES[backbone]
    for key, axes in ((architecture.last_layer, 2), (architecture.stem, 4)):
        if key not in state or state[key].ndim != axes or not len(state[key]):
            raise ModelRefused(
                f"{path}: it has no matrix {key!r}, so it is not {backbone} with ccMusic's head; fetch save.pt again"
            )
    n_labels = len(state[architecture.last_layer])
    return Checkpoint(path, backbone, features or str(said_spectrogram), n_labels, architecture.width(state))


def check(state: Mapping[str, np.ndarray], expected: Mapping[str, Expected]) -> None:
    """Compare every key, shape and type with a manifest, and look for weights that are not numbers.

    Parameters
    ----------
    state : Mapping of str to np.ndarray
    expected : Mapping of str to Expected
        As `ccmusic.checkpoints.architectures.manifest` gives it.

    Raises
    ------
    ModelRefused
        Something differs; the text names the first few keys of each kind and counts them.
    """
    missing = [repr(key) for key, entry in expected.items() if key not in state and not entry.optional]
    unexpected = [repr(key) for key in state if key not in expected]
    differing = [
        f"{key!r} is {state[key].dtype} {list(state[key].shape)}, not {entry.dtype} {list(entry.shape)}"
        for key, entry in expected.items()
        if key in state and (state[key].shape != entry.shape or state[key].dtype != entry.dtype)
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape or type": differing}
    told = [f"{len(keys)} {fault} ({_some(keys)})" for fault, keys in faults.items() if keys]
    if told:
        raise ModelRefused(
            f"of {len(expected)} parameters {'; '.join(told)}: it is another network, or damaged; fetch the file again"
        )
    if others := [
        repr(key)
        for key, entry in expected.items()
        if entry.values is not None and not np.array_equal(state[key], entry.values)
    ]:
        raise ModelRefused(
            f"{_some(others)} holds other numbers than this architecture's: it is another network; fetch the file again"
        )
    if strange := [repr(key) for key, value in state.items() if not _finite(value)]:
        raise ModelRefused(f"NaN or infinity in {_some(strange)}: the file is damaged or its training failed")


_BACKBONES = "|".join(sorted({backbone for backbone, _ in CHECKPOINTS.values()}))
_NAME = re.compile(rf"({_BACKBONES})_({'|'.join(SPECTROGRAMS)})(?:_\d+cls(?:_.*)?)?\Z")


def _file(path: Path) -> Path:
    return path / FILE_NAME if path.is_dir() else path


def _is_parameter(key: Any, value: Any) -> bool:
    return isinstance(key, str) and isinstance(value, np.ndarray)


def _todays_name(key: str) -> str:
    return re.sub(r"\.mlp\.linear_([12])\.", lambda match: f".mlp.{'0' if match[1] == '1' else '3'}.", key)


def _backbone_by_keys(path: Path, state: Mapping[str, np.ndarray]) -> str:
    shares = {}
    for name in ARCHITECTURES:
        keys = manifest(name, n_labels=2).keys()
        shares[name] = len(keys & state.keys()) / len(keys)
    best = max(shares, key=shares.__getitem__)
    if shares[best] < 0.5:
        raise ModelRefused(
            f"{path}: its keys ({_some([repr(key) for key in state])}) are those of no backbone here; "
            f"there are {', '.join(ARCHITECTURES)}"
        )
    return best


def _finite(value: np.ndarray) -> bool:
    # the extremes are NaN if anything is, and unlike isfinite they need no array as large as the weights
    return value.dtype.kind != "f" or not value.size or bool(np.isfinite(value.min()) and np.isfinite(value.max()))


def _some(keys: list[str]) -> str:
    return ", ".join(map(str, keys[:SHOWN])) + (f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else "")
