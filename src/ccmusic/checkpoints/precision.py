"""Measures how another precision changes a network's answers and time, and chooses the precision that runs by default.

Each precision is compared with the same network in float32 on the same real windows. Without this measurement a
network could lose a class without anyone noticing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ccmusic.errors import InvalidParameter
from ccmusic.inference.aggregate import softmax
from ccmusic.models.card_parts import Agreement, Network

MIN_TOP1 = 0.99
"""To run by default, a network must have the same top genre as float32 for at least this share of the windows."""
MIN_WINDOWS = 100
"""With fewer windows, a single difference exceeds what `MIN_TOP1` allows, and no difference proves little."""
TIMED_ROUNDS = 15
"""Timed answers of each network to a single window; one more before them is not timed."""
WINDOWS_PER_BATCH = 4


class _Network(Protocol):
    """A loaded network, such as a `ccmusic.inference.backend.Backend`."""

    def logits(self, windows: np.ndarray) -> np.ndarray: ...


def measure(reference: _Network, candidate: _Network, windows: np.ndarray, threads: int) -> Agreement:
    """Compare a network with the same network in float32.

    Parameters
    ----------
    reference, candidate : Backend
        The network in float32 and in the other precision, both with the same number of threads.
    windows : np.ndarray [shape=(n_windows, ...), dtype=float32]
        Inputs made of real recordings. Times are measured for one window at a time, alternating between the networks,
        so that other load on the machine affects both.
    threads : int
        The number of threads of both, for the record.

    Returns
    -------
    Agreement

    Raises
    ------
    InvalidParameter
        There are no windows.
    NonFiniteOutput
        A network gave NaN or infinity.
    """
    if not len(windows):
        raise InvalidParameter("windows", "must hold at least one window to compare precisions on")
    expected, given = _logits(reference, windows), _logits(candidate, windows)
    milliseconds_float32, milliseconds = _milliseconds((reference, candidate), windows)
    return Agreement(
        windows=len(windows),
        top1=float((expected.argmax(axis=1) == given.argmax(axis=1)).mean()),
        mean_probability_shift=float(np.abs(softmax(expected) - softmax(given)).mean()),
        max_logit_error=float(np.abs(expected - given).max()),
        milliseconds=milliseconds,
        milliseconds_float32=milliseconds_float32,
        threads=threads,
    )


def choose(networks: Sequence[Network]) -> Network:
    """The network to run by default: the fastest that agrees with float32 on at least 99 % of the windows.

    Parameters
    ----------
    networks : sequence of Network
        One in float32 without an agreement, and others with one.

    Returns
    -------
    Network
        The one in float32, unless another was faster than it in the same measurement, agrees well enough, and was
        compared on at least `MIN_WINDOWS` windows. If two are equally fast, the one that agrees better; if they agree
        equally, the earlier.

    Raises
    ------
    InvalidParameter
        Not exactly one network is in float32.
    """
    exact = [network for network in networks if network.agreement is None]
    if [network.precision for network in exact] != ["float32"]:
        raise InvalidParameter("networks", "must hold one network in float32, and an agreement for each of the others")
    candidates = [(_share_of_time(agreement), -agreement.top1, network) for network, agreement in _eligible(networks)]
    return min(candidates, key=lambda entry: entry[:2])[2] if candidates else exact[0]


def _eligible(networks: Sequence[Network]) -> list[tuple[Network, Agreement]]:
    """The networks that are faster than float32, agree well enough, and were compared on enough windows."""
    return [
        (network, agreement)
        for network in networks
        if (agreement := network.agreement) is not None
        and agreement.windows >= MIN_WINDOWS
        and agreement.top1 >= MIN_TOP1
        and _share_of_time(agreement) < 1
    ]


def _share_of_time(agreement: Agreement) -> float:
    # Each network is timed together with float32, at different moments: only these ratios are comparable.
    return agreement.milliseconds / agreement.milliseconds_float32


def _logits(backend: _Network, windows: np.ndarray) -> np.ndarray:
    batches = [windows[first : first + WINDOWS_PER_BATCH] for first in range(0, len(windows), WINDOWS_PER_BATCH)]
    return np.concatenate([backend.logits(batch) for batch in batches])


def _milliseconds(backends: Sequence[_Network], windows: np.ndarray) -> list[float]:
    """Median time for one window in each network."""
    seconds: list[list[float]] = [[] for _ in backends]
    for i in range(TIMED_ROUNDS + 1):
        window = windows[i % len(windows)][None]
        for backend, times in zip(backends, seconds, strict=True):
            start = time.perf_counter()
            backend.logits(window)
            times.append(time.perf_counter() - start)
    return [
        1000 * statistics.median(times[1:]) for times in seconds
    ]  # the first answer for a batch size allocates memory
