"""What a training run may vary, and the networks of the embedded model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ccmusic.errors import InvalidParameter
from ccmusic.features.crops import CROP_SECONDS, CROP_SHARES

FOLDS = (0, 1, 2, 3, 4)
STARTS = ("mn04", "scratch")
FRONTS = ("cqt", "mel")


@dataclass(frozen=True)
class Configuration:
    """Settings of one training run; equal settings give equal networks on the same machine.

    Attributes
    ----------
    epochs : int
        An epoch takes one crop of each training clip (`label_repeats` crops of a labelled clip). The number is fixed
        before the training.
    start : str
        ``mn04`` (pretrained convolutions) or ``scratch`` (random weights).
    front : str
        Input of the convolutions: ``cqt``, or ``mel``, the mel-like picture that `ccmusic.training.mel_front` computes
        from it.
    seconds, shares : tuple of float
        Lengths of the crops and how often each occurs, relative to the others.
    label_weight, group_weight, soft_weight, teacher_weight : float
        Weights of the losses: known leaf, known group of leaves, probabilities of the probe, outputs of the teachers.
    balance : float
        Exponent of the inverse class frequency in the label loss: 0 does not balance the classes, 1 balances fully.
    mixup : float
        Share of batches whose crops are mixed in pairs.
    ema_decay : float
        Decay per step of the running average of the weights.
    roughen : bool
        Whether crops also get noise and holes like those of a codec (`ccmusic.features.augment.roughen`).
    """

    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    start: str = "mn04"
    front: str = "cqt"
    stem_stride: tuple[int, int] = (2, 1)
    dropout: float = 0.2
    seconds: tuple[float, ...] = CROP_SECONDS
    shares: tuple[float, ...] = CROP_SHARES
    label_repeats: int = 2
    label_weight: float = 0.5
    group_weight: float = 0.5
    soft_weight: float = 1.0
    teacher_weight: float = 2.0
    balance: float = 0.5
    mixup: float = 0.3
    ema_decay: float = 0.99
    roughen: bool = False
    seed: int = 16

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise InvalidParameter("start", f"must be one of {', '.join(STARTS)}, not {self.start!r}")
        if self.front not in FRONTS:
            raise InvalidParameter("front", f"must be one of {', '.join(FRONTS)}, not {self.front!r}")
        if len(self.seconds) != len(self.shares):
            raise InvalidParameter("shares", f"must have {len(self.seconds)} values, one for each crop length")


_LONG: dict[str, Any] = {"epochs": 24, "seconds": (2.0, 3.0, 5.0, 10.0), "shares": (0.1, 0.35, 0.35, 0.2)}

RECORDINGS: dict[str, Configuration] = {
    "plain": Configuration(**_LONG),
    "plain-2": Configuration(**_LONG, seed=17),
    "rough": Configuration(**_LONG, mixup=0.6, dropout=0.4, roughen=True),
    "mel": Configuration(**{**_LONG, "shares": (0.1, 0.35, 0.4, 0.15)}, front="mel", stem_stride=(2, 2)),
}
"""The networks for recordings longer than 1.5 s; the answer is the mean of their logits."""

SHORT: dict[str, Configuration] = {
    "short": Configuration(epochs=40, seconds=(0.3, 0.5, 0.7, 1.0), shares=(0.4, 0.2, 0.2, 0.2)),
}
"""The network for recordings up to 1.5 s."""

MEMBERS = RECORDINGS | SHORT
"""Every network of the embedded model."""
