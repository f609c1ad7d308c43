"""Wait until a service is healthy, and then check its answers to the golden clips.

This is the last step of a deployment: a service that passes the gate is reachable, ready, healthy, and answers
correctly.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from ccmusic.operations.golden_answers import WrongAnswer, check_golden_answers
from ccmusic.operations.http_client import REQUEST_SECONDS, Print, request
from ccmusic.version import SERVICE

if TYPE_CHECKING:  # imported late: the command line must start fast
    from ccmusic.models.card import Card

POLL_SECONDS = 0.25


class GateOutcome(Enum):
    """How a gate ends."""

    GREEN = auto()
    NOT_GREEN = auto()
    WRONG_ANSWER = auto()
    UNREACHABLE = auto()


def gate(
    url: str,
    *,
    timeout_seconds: float = 120.0,
    golden: bool = True,
    card: Path | None = None,
    echo: Print = print,
) -> GateOutcome:
    """Wait until a service is healthy, and then check its answers to the golden clips.

    Parameters
    ----------
    url : str
        Address of the service.
    timeout_seconds : float
        For everything together.
    golden : bool
        Whether to check the answers to the golden clips.
    card : Path, optional
        ``card.json``, or its directory, of the model that must be serving. By default the answers are compared with
        the embedded model's card, if that model is serving.
    echo : callable
        Is called with each line to print.

    Returns
    -------
    GateOutcome
        `NOT_GREEN` if the service was reached but not healthy before the deadline, `UNREACHABLE` if it was not reached.
    """
    deadline = time.monotonic() + timeout_seconds
    expected = None if card is None else _read_card(card)
    last: tuple[str | None, bool] = ("not requested yet", False)
    reached = False
    with _progress(echo) as show:
        for last in _states(url, deadline):
            cause, answered = last
            reached = reached or answered
            if cause is None:
                show("healthy")
                break
            show(f"not healthy: {cause}" if answered else f"not reachable: {cause}")
    cause, _ = last
    if cause is not None:
        state = "not healthy" if reached else "not reachable"
        echo(f"gate: {state} within {timeout_seconds:g} s: {cause}")
        return GateOutcome.NOT_GREEN if reached else GateOutcome.UNREACHABLE
    return _check_golden(url, expected, deadline, echo) if golden else GateOutcome.GREEN


def _states(url: str, deadline: float) -> Iterator[tuple[str | None, bool]]:
    """Yield the cause why the service is not healthy (None if it is) and whether it answered, until the deadline."""
    pause = threading.Event()
    while True:
        try:
            yield _cause(url, deadline), True
        except OSError as error:
            yield str(error) or type(error).__name__, False
        if time.monotonic() > deadline:
            return
        pause.wait(POLL_SECONDS)


def _cause(url: str, deadline: float) -> str | None:
    for path in ("/readyz", "/health"):
        timeout = min(REQUEST_SECONDS, deadline - time.monotonic())
        response = request(url, path, timeout_seconds=timeout)
        if response.status != 200:
            return f"{path}: {response.field('message') or f'status {response.status}'}"
    if response.field("service") != SERVICE or response.field("status") != "ok":  # such as the page of a proxy
        return "/health: the program that answers is not CCMusic"
    return None


@contextmanager
def _progress(echo: Print) -> Iterator[Callable[[str], None]]:
    """Print a line when the state changes; on a terminal, also the time that has passed."""
    from tqdm import tqdm

    shown = ""
    with tqdm(bar_format="{desc} {elapsed}", desc="waiting", leave=False, disable=None) as bar:

        def show(state: str) -> None:
            nonlocal shown
            if state != shown:
                bar.clear()
                echo(f"gate: {state}")
                shown = state
            bar.refresh()

        yield show


def _read_card(path: Path) -> Card:
    from ccmusic.models.card import CARD_NAME, read_card

    return read_card(path / CARD_NAME if path.is_dir() else path)


def _check_golden(url: str, expected: Card | None, deadline: float, echo: Print) -> GateOutcome:
    from ccmusic.models.store import EMBEDDED_DIRECTORY

    try:
        models = request(url, "/v1/models").field("models")
        sha256 = models[0]["sha256"]
    except (OSError, TypeError, LookupError):
        echo("gate: healthy, but /v1/models names no model that answers")
        return GateOutcome.WRONG_ANSWER
    if expected is not None and sha256 != expected.sha256:
        echo(f"gate: it serves the model {sha256[:12]}..., not the {expected.sha256[:12]}... of the card")
        return GateOutcome.WRONG_ANSWER
    if expected is None and (embedded := _read_card(EMBEDDED_DIRECTORY)).sha256 == sha256:
        expected = embedded
    try:
        echo(f"gate: {check_golden_answers(url, expected, deadline)}")
    except TimeoutError as error:
        echo(f"gate: not healthy within the time: {error}")
        return GateOutcome.NOT_GREEN
    except WrongAnswer as error:
        echo(f"gate: wrong golden answer: {error}")
        return GateOutcome.WRONG_ANSWER
    return GateOutcome.GREEN
