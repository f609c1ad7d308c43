"""The backbones of ccMusic's public checkpoints, each written once.

Three functions use them: `manifest` lists the parameters that a checkpoint must have, `build_onnx` makes the ONNX file
that serving runs, and `reference_logits` computes the logits a second time, with torch or NumPy, to compare.

- `ops`: the operations of which the backbones consist, as an abstract class
- `vgg`, `vit`, `convnext`, `inception`, `swin`: one backbone each; `head`: the layers that ccMusic adds to each
- ``manifest``, ``onnx_graph``, ``numpy_reference``, ``torch_reference``: one implementation of the operations each
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from ccmusic.checkpoints.architectures import convnext, head, inception, swin, vgg, vit
from ccmusic.checkpoints.architectures.manifest import Expected, ManifestOps
from ccmusic.checkpoints.architectures.ops import Ops, T
from ccmusic.errors import InvalidParameter

__all__ = [
    "ARCHITECTURES",
    "CHECKPOINTS",
    "Architecture",
    "Expected",
    "architecture",
    "build_onnx",
    "manifest",
    "n_parameters",
    "reference_logits",
]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A backbone, and where ccMusic's head is in it.

    Attributes
    ----------
    name : str
        torchvision's name.
    backbone : module
        Has ``trunk(ops, picture, width)``, from pictures [batch, 3, 224, 224] to features.
    features : int
        Length of the features at width 1.
    head : str
        Prefix of the head's keys.
    head_offset : int
        Number of the backbone's own layers under the same prefix.
    stem : str
        Key of the first convolution's weight.
    stem_channels : int
        Its output channels at width 1.
    """

    name: str
    backbone: ModuleType
    features: int
    head: str
    head_offset: int
    stem: str
    stem_channels: int

    @property
    def last_layer(self) -> str:
        """Key of the last layer's weight, which has a row for each label."""
        return f"{self.head}.{self.head_offset + head.LINEAR_LAYERS[-1]}.weight"

    def logits(self, ops: Ops[T], picture: T, n_labels: int, width: float = 1.0) -> T:
        """Logits [batch, n_labels] of pictures [batch, 3, 224, 224], with any implementation of the operations."""
        features: T = self.backbone.trunk(ops, picture, width)
        return head.logits(ops, features, self.head, self.head_offset, round(self.features * width), n_labels)

    def width(self, state: Mapping[str, np.ndarray]) -> float:
        """Number of channels in a checkpoint as a share of torchvision's; 1.0 for ccMusic's own checkpoints."""
        return len(state[self.stem]) / self.stem_channels


ARCHITECTURES: dict[str, Architecture] = {
    entry.name: entry
    for entry in (
        Architecture("vgg19_bn", vgg, 512 * 7 * 7, "classifier", 0, "features.0.weight", 64),
        Architecture("vit_b_16", vit, 768, "heads.head", 0, "conv_proj.weight", 768),
        Architecture("convnext_base", convnext, 1024, "classifier", 2, "features.0.0.weight", 128),
        Architecture("inception_v3", inception, 2048, "fc", 0, "Conv2d_1a_3x3.conv.weight", 32),
        Architecture("swin_b", swin, 1024, "head", 0, "features.0.0.weight", 128),
    )
}
"""The backbones by torchvision's name."""

CHECKPOINTS: dict[str, tuple[str, str]] = {
    "vgg19_bn_cqt": ("vgg19_bn", "cqt"),
    "vgg19_bn_mel": ("vgg19_bn", "mel"),
    "vit_b_16_cqt": ("vit_b_16", "cqt"),
    "vit_b_16_mel": ("vit_b_16", "mel"),
    "convnext_base_cqt": ("convnext_base", "cqt"),
    "inception_v3_mel": ("inception_v3", "mel"),
    "swin_b_mel": ("swin_b", "mel"),
}
"""ccMusic's public checkpoints: folder -> backbone and spectrogram."""

BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "relative_position_index")
"""The ends of keys whose values are not trained."""


def architecture(name: str) -> Architecture:
    """The backbone of this name.

    Raises
    ------
    InvalidParameter
        There is none; the text lists the existing ones.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise InvalidParameter("architecture", f"must be one of {', '.join(ARCHITECTURES)}, not {name!r}") from None


def manifest(name: str, n_labels: int, width: float = 1.0) -> dict[str, Expected]:
    """The parameters of a checkpoint of this architecture.

    Parameters
    ----------
    name : str
        One of `ARCHITECTURES`.
    n_labels : int
    width : float
        Factor for all numbers of channels; tests use small networks.

    Returns
    -------
    dict of str to Expected
        Shape and type by torchvision's key names, in the order in which the network uses them.
    """
    ops = ManifestOps()
    architecture(name).logits(ops, None, n_labels, width)
    return ops.expected


def n_parameters(expected: Mapping[str, Expected]) -> int:
    """Number of trainable parameters in a manifest; buffers do not count."""
    return sum(entry.size for key, entry in expected.items() if not key.endswith(BUFFERS))


def build_onnx(name: str, state: Mapping[str, np.ndarray], n_labels: int) -> bytes:
    """Turn a checkpoint into an ONNX file, without torch.

    Parameters
    ----------
    name : str
        One of `ARCHITECTURES`.
    state : Mapping of str to np.ndarray
        As `ccmusic.checkpoints.state_dict.read_state_dict` returns it.
    n_labels : int

    Returns
    -------
    bytes
        Input ``picture`` [shape=(batch, 3, 224, 224), dtype=float32], output ``logits`` [shape=(batch, n_labels)],
        for any batch size. The same checkpoint gives the same bytes.

    Raises
    ------
    InvalidParameter
        There is no such architecture.
    ModelRefused
        A parameter is missing or has another shape.
    """
    from ccmusic.checkpoints.architectures.onnx_graph import OnnxOps  # imported late: needs the extra import

    network = architecture(name)
    ops = OnnxOps(state)
    logits = network.logits(ops, ops.picture, n_labels, network.width(state))
    return ops.build(logits, n_labels, name)


def reference_logits(
    name: str, state: Mapping[str, np.ndarray], pictures: np.ndarray, framework: str | None = None
) -> tuple[np.ndarray, str]:
    """Compute the logits without ONNX Runtime.

    Parameters
    ----------
    name : str
        One of `ARCHITECTURES`.
    state : Mapping of str to np.ndarray
    pictures : np.ndarray [shape=(batch, 3, 224, 224), dtype=float32]
    framework : {"torch", "numpy"} or None
        None: torch if it is installed, else NumPy.

    Returns
    -------
    logits : np.ndarray [shape=(batch, n_labels), dtype=float32]
    framework : str
        The framework that computed them.

    Raises
    ------
    InvalidParameter
        There is no such architecture or framework.
    ModelRefused
        A parameter is missing or has another shape.
    """
    network = architecture(name)
    n_labels, width = len(state[network.last_layer]), network.width(state)
    if framework not in {None, "torch", "numpy"}:
        raise InvalidParameter("framework", f"must be torch or numpy, not {framework!r}")
    if framework != "numpy":
        try:
            import torch  # imported late: optional
        except ImportError:
            if framework == "torch":
                raise InvalidParameter("framework", "torch is not installed; use numpy") from None
        else:
            from ccmusic.checkpoints.architectures.torch_reference import TorchOps

            with torch.inference_mode():
                answer = network.logits(TorchOps(state), torch.tensor(pictures), n_labels, width)
            return np.asarray(answer.numpy()), "torch"
    from ccmusic.checkpoints.architectures.numpy_reference import NumpyOps  # imported late: computes a table

    return network.logits(NumpyOps(state), pictures, n_labels, width), "numpy"
