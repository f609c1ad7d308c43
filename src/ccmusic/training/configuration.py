"""Everything that a training run may vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ccmusic.errors import InvalidParameter
from ccmusic.features.crops import CROP_SECONDS, CROP_SHARES

STARTS = ("mn04", "scratch")
FRONTS = ("cqt", "mel")


@dataclass(frozen=True)
class Configuration:
    """One training run; two runs with equal records give equal networks on the same machine.

    Attributes
    ----------
    epochs : int
        Passes over the training clips, one crop a clip (labelled clips `label_repeats` times); fixed beforehand.
    start : str
        ``mn04`` or ``scratch``.
    front : str
        What the convolutions see: ``cqt``, or ``mel``, the mel-like picture that `ccmusic.training.mel_front` makes of
        it.
    seconds, shares : tuple of float
        Lengths of the crops and how often each occurs, relative to one another.
    label_weight, group_weight, soft_weight, teacher_weight : float
        Weights of the losses: known leaf, known group of leaves, probe's probabilities, teachers' outputs.
    balance : float
        Exponent of the inverse class frequency in the label loss and the readout: 0 not balanced, 1 fully.
    mixup : float
        Share of batches that are mixed in pairs.
    ema_decay : float
        Decay of the running average of weights per step.
    roughen : bool
        Whether crops also get noise and a codec's holes (`ccmusic.features.augment.roughen`).
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
            raise InvalidParameter("shares", f"must be as many as the {len(self.seconds)} crop lengths")


_LONG: dict[str, Any] = {"epochs": 24, "seconds": (2.0, 3.0, 5.0, 10.0), "shares": (0.1, 0.35, 0.35, 0.2)}

RECORDINGS: dict[str, Configuration] = {
    "plain": Configuration(**_LONG),
    "plain-2": Configuration(**_LONG, seed=17),
    "rough": Configuration(**_LONG, mixup=0.6, dropout=0.4, roughen=True),
    "mel": Configuration(**{**_LONG, "shares": (0.1, 0.35, 0.4, 0.15)}, front="mel", stem_stride=(2, 2)),
}
"""The networks that answer together for recordings longer than 1.5 s."""

SHORT: dict[str, Configuration] = {
    "short": Configuration(epochs=40, seconds=(0.3, 0.5, 0.7, 1.0), shares=(0.4, 0.2, 0.2, 0.2)),
}
"""Those that answer for recordings up to 1.5 s."""

MEMBERS = RECORDINGS | SHORT
"""Every network in the shipped graph."""
