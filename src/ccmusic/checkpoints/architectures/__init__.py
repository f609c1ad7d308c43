"""The backbones of ccMusic's public checkpoints, each written once, and what can be made of one.

`manifest` says what a checkpoint must hold, `build_onnx` turns one into the file that serving runs, and
`reference_logits` computes the answer a second time, in torch where it is installed and in NumPy everywhere.
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
    """A backbone, and how ccMusic's head hangs on it.

    Attributes
    ----------
    name : str
        torchvision's.
    backbone : module
        Has ``trunk(ops, picture, width)``, from pictures [batch, 3, 224, 224] to features.
    features : int
        Length of the features, at width 1.
    head : str
        The head's place in the network, as its keys are prefixed.
    head_offset : int
        Layers of the backbone's own under the same prefix.
    stem : str
        Key of the first convolution's weight.
    stem_channels : int
        Its outputs, at width 1.
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
        """Logits [batch, n_labels] of pictures [batch, 3, 224, 224], by any interpreter."""
        features: T = self.backbone.trunk(ops, picture, width)
        return head.logits(ops, features, self.head, self.head_offset, round(self.features * width), n_labels)

    def width(self, state: Mapping[str, np.ndarray]) -> float:
        """Share of torchvision's channels that this checkpoint has; 1.0 for ccMusic's own."""
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
"""How the keys end of what a checkpoint holds beside parameters."""


def architecture(name: str) -> Architecture:
    """The backbone of this name.

    Raises
    ------
    InvalidParameter
        There is none; the text lists those there are.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise InvalidParameter("architecture", f"must be one of {', '.join(ARCHITECTURES)}, not {name!r}") from None


def manifest(name: str, n_labels: int, width: float = 1.0) -> dict[str, Expected]:
    """What a checkpoint of this architecture holds.

    Parameters
    ----------
    name : str
        One of `ARCHITECTURES`.
    n_labels : int
    width : float
        Every number of channels is multiplied by it: a network small enough for tests and for training.

    Returns
    -------
    dict of str to Expected
        Shape and type by torchvision's key names, in the order in which the network uses them.
    """
    ops = ManifestOps()
    architecture(name).logits(ops, None, n_labels, width)
    return ops.expected


def n_parameters(expected: Mapping[str, Expected]) -> int:
    """Numbers that training may change: what networks are compared by; a manifest's buffers are none."""
    return sum(entry.size for key, entry in expected.items() if not key.endswith(BUFFERS))


def build_onnx(name: str, state: Mapping[str, np.ndarray], n_labels: int) -> bytes:
    """Turn a checkpoint into an ONNX file, without torch.

    Parameters
    ----------
    name : str
        One of `ARCHITECTURES`.
    state : Mapping of str to np.ndarray
        As `ccmusic.checkpoints.state_dict.read_state_dict` gives it.
    n_labels : int

    Returns
    -------
    bytes
        Input ``picture`` [shape=(batch, 3, 224, 224), dtype=float32], output ``logits`` [shape=(batch, n_labels)],
        the batch free. The same checkpoint gives the same bytes.

    Raises
    ------
    InvalidParameter
        There is no such architecture.
    ModelRefused
        A parameter is missing or of another shape.
    """
    from ccmusic.checkpoints.architectures.onnx_graph import OnnxOps  # late: onnx is no dependency of serving

    network = architecture(name)
    ops = OnnxOps(state)
    logits = network.logits(ops, ops.picture, n_labels, network.width(state))
    return ops.build(logits, n_labels, name)


def reference_logits(
    name: str, state: Mapping[str, np.ndarray], pictures: np.ndarray, framework: str | None = None
) -> tuple[np.ndarray, str]:
    """Compute the logits a second time, by other code than ONNX Runtime's.

    Parameters
    ----------
    name : str
        One of `ARCHITECTURES`.
    state : Mapping of str to np.ndarray
    pictures : np.ndarray [shape=(batch, 3, 224, 224), dtype=float32]
    framework : {"torch", "numpy"} or None
        None: torch where it can be imported, else NumPy.

    Returns
    -------
    logits : np.ndarray [shape=(batch, n_labels), dtype=float32]
    framework : str
        The one that computed them.

    Raises
    ------
    InvalidParameter
        There is no such architecture or framework.
    ModelRefused
        A parameter is missing or of another shape.
    """
    network = architecture(name)
    n_labels, width = len(state[network.last_layer]), network.width(state)
    if framework not in {None, "torch", "numpy"}:
        raise InvalidParameter("framework", f"must be torch or numpy, not {framework!r}")
    if framework != "numpy":
        try:
            import torch  # late: no dependency of serving, nor of this
        except ImportError:
            if framework == "torch":
                raise InvalidParameter("framework", "torch is not installed here; use numpy") from None
        else:
            from ccmusic.checkpoints.architectures.torch_reference import TorchOps

            with torch.inference_mode():
                answer = network.logits(TorchOps(state), torch.tensor(pictures), n_labels, width)
            return np.asarray(answer.numpy()), "torch"
    from ccmusic.checkpoints.architectures.numpy_reference import NumpyOps  # late: it tabulates a function

    return network.logits(NumpyOps(state), pictures, n_labels, width), "numpy"
