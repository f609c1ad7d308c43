"""The interface of every backend, and their common checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ccmusic.errors import ModelRefused, NonFiniteOutput

OUTPUT_NAME = "logits"

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Execution:
    """Where a network runs.

    Attributes
    ----------
    threads : int
        Threads within one operation, on the CPU.
    device : {"auto", "cpu", "cuda"}
        ``auto`` uses a GPU if this installation of ONNX Runtime supports one.
    """

    threads: int = 1
    device: Device = "cpu"


class Backend(Protocol):
    """A loaded network."""

    name: str

    def logits(self, windows: np.ndarray) -> np.ndarray:
        """Run the network on a batch.

        Parameters
        ----------
        windows : np.ndarray [shape=(batch, ...), dtype=float32]
            From `FrontEnd.network_input`.

        Returns
        -------
        np.ndarray [shape=(batch, n_labels), dtype=float32]

        Raises
        ------
        NonFiniteOutput
            The network returned NaN or infinity.
        """
        ...

    def all_logits(self, windows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the network once on a batch and return every output of the card.

        Returns
        -------
        tuple of np.ndarray [shape=(batch, n_labels), dtype=float32]
            The same bits as `logits`, then each head's output.
        """
        ...


def require_interface(
    inputs: list[str], outputs: Mapping[str, int | str | None], input_name: str, widths: Mapping[str, int]
) -> None:
    """Refuse a network that does not have the card's input and outputs.

    Parameters
    ----------
    inputs : list of str
    outputs : mapping of str to int, str or None
        By name: the width of each output, not an integer if the network leaves it open.
    input_name : str
    widths : mapping of str to int
        By name: the number of labels in the card.

    Raises
    ------
    ModelRefused
    """
    missing = [name for name in widths if name not in outputs]
    if inputs != [input_name] or missing:
        raise ModelRefused(
            f"the network has inputs {sorted(inputs)} and outputs {sorted(outputs)}; "
            f"expected the input {input_name!r} and an output {(missing or [OUTPUT_NAME])[0]!r}"
        )
    for name, n_labels in widths.items():
        width = outputs[name]
        if isinstance(width, int) and width != n_labels:
            of = "" if name == OUTPUT_NAME else f" in {name}"
            raise ModelRefused(f"the network has {width} outputs{of} for the card's {n_labels} labels")


def checked(logits: np.ndarray, n_windows: int, n_labels: int) -> np.ndarray:
    """Return the logits of a network after checking them.

    Raises
    ------
    ModelRefused
        The shape is not (n_windows, n_labels).
    NonFiniteOutput
        The logits contain NaN or infinity.
    """
    if logits.shape != (n_windows, n_labels):
        raise ModelRefused(f"the network answered with shape {logits.shape} for {n_labels} labels")
    if not np.isfinite(logits).all():
        raise NonFiniteOutput("the network answered NaN or infinity")
    return logits
