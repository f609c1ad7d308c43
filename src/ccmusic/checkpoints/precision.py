"""What another precision changes in a network's answers and in its time, and which precision runs by default.

Every precision is compared with the same network in float32 on the same windows, because a network that was not
measured on real windows may have lost a class without anyone noticing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ccmusic.errors import InvalidParameter
from ccmusic.inference.aggregate import softmax
from ccmusic.models.card import Agreement, Network

MIN_TOP1 = 0.99
"""Share of the windows for which a network must name the same genre as in float32, to run by default."""
MIN_WINDOWS = 100
"""With fewer, one window that is named otherwise is more than `MIN_TOP1` allows, and none proves nothing."""
TIMED_ROUNDS = 15
"""How often a single window is timed in either network, after one answer that is not."""
WINDOWS_PER_BATCH = 4


class _Answers(Protocol):
    """A loaded network, of `ccmusic.inference.backend`."""

    def logits(self, windows: np.ndarray) -> np.ndarray: ...


def measure(reference: _Answers, candidate: _Answers, windows: np.ndarray, threads: int) -> Agreement:
    """Compare a network with the one in float32.

    Parameters
    ----------
    reference, candidate : Backend
        In float32, and in the other precision; both on the same number of threads.
    windows : np.ndarray [shape=(n_windows, ...), dtype=float32]
        Real ones. The times are of one window at a time, both networks in turns, so that whatever else the machine
        does meets both.
    threads : int
        On which both run; it is only noted.

    Returns
    -------
    Agreement

    Raises
    ------
    InvalidParameter
        There are no windows.
    NonFiniteOutput
        A network answered NaN or infinity.
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
    """The network that runs by default: the fastest that names the same genre as float32 for 99 of 100 windows.

    Parameters
    ----------
    networks : sequence of Network
        The one in float32, without an agreement, and others with theirs.

    Returns
    -------
    Network
        One of them. float32 where no other is faster than it was in the same measurement, agrees well enough, and was
        compared on at least `MIN_WINDOWS` windows. Of two equally fast, the one that agrees better; of those, the
        earlier.

    Raises
    ------
    InvalidParameter
        There is not exactly one network in float32.
    """
    exact = [network for network in networks if network.agreement is None]
    if [network.precision for network in exact] != ["float32"]:
        raise InvalidParameter("networks", "must hold one network in float32, and an agreement for each of the others")
    fit = [(_share_of_time(agreement), -agreement.top1, network) for network, agreement in _compared(networks)]
    return min(fit, key=lambda entry: entry[:2])[2] if fit else exact[0]


def _compared(networks: Sequence[Network]) -> list[tuple[Network, Agreement]]:
    """Those that may run by default: faster, compared on enough windows, and agreeing well enough."""
    return [
        (network, agreement)
        for network in networks
        if (agreement := network.agreement) is not None
        and agreement.windows >= MIN_WINDOWS
        and agreement.top1 >= MIN_TOP1
        and _share_of_time(agreement) < 1
    ]


def _share_of_time(agreement: Agreement) -> float:
    # Networks are not timed at one time, but each beside float32: only these ratios can be compared.
    return agreement.milliseconds / agreement.milliseconds_float32


def _logits(backend: _Answers, windows: np.ndarray) -> np.ndarray:
    batches = [windows[first : first + WINDOWS_PER_BATCH] for first in range(0, len(windows), WINDOWS_PER_BATCH)]
    return np.concatenate([backend.logits(batch) for batch in batches])


def _milliseconds(backends: Sequence[_Answers], windows: np.ndarray) -> list[float]:
    """Median time of one window in each."""
    seconds: list[list[float]] = [[] for _ in backends]
    for i in range(TIMED_ROUNDS + 1):
        window = windows[i % len(windows)][None]
        for backend, times in zip(backends, seconds, strict=True):
            start = time.perf_counter()
            backend.logits(window)
            times.append(time.perf_counter() - start)
    return [1000 * statistics.median(times[1:]) for times in seconds]  # the first of a batch size allocates
