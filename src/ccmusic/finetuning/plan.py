"""The settings of one fine-tuning run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ccmusic.errors import InvalidParameter

Tune = Literal["head", "all"]
EPOCHS: dict[str, int] = {"head": 100, "all": 20}
PATIENCE: dict[str, int] = {"head": 10, "all": 5}


@dataclass(frozen=True)
class Plan:
    """One run; equal plans on equal data give equal models on the same machine.

    Attributes
    ----------
    tune : {"head", "all"}
        What is fitted: a layer on the base model's embedding, or that layer and then every weight.
    epochs : int
        Upper limit of epochs.
    patience : int
        Training stops after this many epochs without a lower loss on the held-out recordings.
    holdout : float
        Share of the artists that is held out.
    seed : int
    """

    tune: Tune = "head"
    epochs: int = EPOCHS["head"]
    patience: int = PATIENCE["head"]
    holdout: float = 0.2
    seed: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.holdout < 1:
            raise InvalidParameter("--holdout", f"must be between 0 and 1, not {self.holdout:g}")
        for name in ("epochs", "patience"):
            if getattr(self, name) < 1:
                raise InvalidParameter(f"--{name}", f"must be 1 or more, not {getattr(self, name)}")
        if self.seed < 0:
            raise InvalidParameter("--seed", f"must be 0 or more, not {self.seed}")

    def of_stage(self, stage: Tune) -> Plan:
        """The plan of one stage. The head is always fitted first; before ``all`` it uses its own defaults."""
        if stage == self.tune:
            return self
        return Plan(stage, EPOCHS[stage], PATIENCE[stage], self.holdout, self.seed)
