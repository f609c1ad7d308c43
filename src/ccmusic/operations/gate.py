"""``ccmusic gate``: wait until a service is green, and ask it something whose answer is known.

For a deployment's last step: what has passed the gate is reachable, ready, healthy, and answers right.
"""

from __future__ import annotations

import argparse
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccmusic.operations.asking import ASK_SECONDS, DEFAULT_URL, Answer, Echo, ask
from ccmusic.version import SERVICE

if TYPE_CHECKING:  # the rest is imported where it is used: a command line should start at once
    from ccmusic.models.card import Card, Head

EXIT_GREEN = 0
EXIT_NOT_GREEN = 6
EXIT_WRONG_ANSWER = 7
EXIT_UNREACHABLE = 8

POLL_SECONDS = 0.25
TOLERANCE = 0.02
"""Largest difference of a probability between machines that is still the same model on the same road."""


def gate(
    url: str,
    *,
    timeout_seconds: float = 120.0,
    golden: bool = True,
    card: Path | None = None,
    echo: Echo = print,
) -> int:
    """Wait until a service is green, then ask it its golden clips.

    Parameters
    ----------
    url : str
        Where it is.
    timeout_seconds : float
        For all of it.
    golden : bool
        Whether to ask the golden clips.
    card : Path, optional
        ``card.json``, or its directory, of the model that must be serving; the embedded one's by default, as long as
        that is what serves.
    echo : callable
        Told what happens, line by line.

    Returns
    -------
    int
        0: green. 6: reachable, but not green before the deadline. 7: green, but its golden answer is wrong. 8: not
        reachable before the deadline.
    """
    deadline = time.monotonic() + timeout_seconds
    expected = None if card is None else _read_card(card)
    last: tuple[str | None, bool] = ("not asked yet", False)
    reached = False
    with _progress(echo) as say:
        for last in _states(url, deadline):
            cause, answered = last
            reached = reached or answered
            if cause is None:
                say("green")
                break
            say(f"not green: {cause}" if answered else f"not reachable: {cause}")
    cause, _ = last
    if cause is not None:
        state = "not green" if reached else "not reachable"
        echo(f"gate: {state} within {timeout_seconds:g} s: {cause}")
        return EXIT_NOT_GREEN if reached else EXIT_UNREACHABLE
    if golden:
        return _golden(url, expected, deadline, echo)
    return EXIT_GREEN


def _states(url: str, deadline: float) -> Iterator[tuple[str | None, bool]]:
    """What is wrong (None: nothing) and whether the service answered, until the deadline."""
    pause = threading.Event()
    while True:
        try:
            yield _not_green(url, deadline), True
        except OSError as error:
            yield str(error) or type(error).__name__, False
        if time.monotonic() > deadline:
            return
        pause.wait(POLL_SECONDS)


def _not_green(url: str, deadline: float) -> str | None:
    for path in ("/readyz", "/health"):
        answer = ask(url, path, timeout_seconds=min(ASK_SECONDS, deadline - time.monotonic()))
        if answer.status != 200:
            return f"{path}: {answer.field('message') or f'status {answer.status}'}"
    if answer.field("service") != SERVICE or answer.field("status") != "ok":  # a proxy's friendly page, say
        return "/health: what answers there is not CCMusic"
    return None


@contextmanager
def _progress(echo: Echo) -> Iterator[Callable[[str], None]]:
    """A line whenever the state changes; on a terminal, the time meanwhile."""
    from tqdm import tqdm

    said = ""
    with tqdm(bar_format="{desc} {elapsed}", desc="waiting", leave=False, disable=None) as bar:

        def say(state: str) -> None:
            nonlocal said
            if state != said:
                bar.clear()
                echo(f"gate: {state}")
                said = state
            bar.refresh()

        yield say


# the golden clips


def _read_card(path: Path) -> Card:
    from ccmusic.models.card import CARD_NAME, read_card

    return read_card(path / CARD_NAME if path.is_dir() else path)


def _golden(url: str, expected: Card | None, deadline: float, echo: Echo) -> int:
    try:
        models = ask(url, "/v1/models").field("models")
        sha256 = models[0]["sha256"]
    except (OSError, TypeError, LookupError):
        echo("gate: green, but /v1/models names no model that answers")
        return EXIT_WRONG_ANSWER
    if expected is not None and sha256 != expected.sha256:
        echo(f"gate: it serves the model {sha256[:12]}..., not the {expected.sha256[:12]}... of the card")
        return EXIT_WRONG_ANSWER
    from ccmusic.models.store import EMBEDDED_DIRECTORY

    if expected is None and (embedded := _read_card(EMBEDDED_DIRECTORY)).sha256 == sha256:
        expected = embedded
    try:
        words = _compared(url, expected, deadline) if expected else _repeated(url, deadline)
    except TimeoutError as error:
        echo(f"gate: not green within the time: {error}")
        return EXIT_NOT_GREEN
    except _WrongAnswer as error:
        echo(f"gate: wrong golden answer: {error}")
        return EXIT_WRONG_ANSWER
    echo(f"gate: {words}")
    return EXIT_GREEN


class _WrongAnswer(Exception):
    """What a healthy service does not answer."""


def _compared(url: str, card: Card, deadline: float) -> str:
    import numpy as np

    from ccmusic.inference.aggregate import window_probabilities

    worst, n_compared = 0.0, 0
    for clip in card.golden:
        if clip.seconds > card.window_seconds:
            continue  # the card has logits for the clip as one window, which this service would cut
        outputs: list[tuple[str, Card | Head, tuple[float, ...]]] = [("", card, clip.logits)]
        outputs += [(head.taxonomy, head, clip.heads[head.taxonomy]) for head in card.heads]
        for taxonomy, output, logits in outputs:
            answer = _probabilities(url, clip.signal, clip.seconds, deadline, taxonomy)
            if set(answer) != set(output.labels):
                raise _WrongAnswer(f"{clip.signal}: its genres are not the card's labels")
            expected = window_probabilities(np.array([logits]), clip.seconds, output)[0]
            error = max(abs(answer[label] - value) for label, value in zip(output.labels, expected, strict=True))
            if error > TOLERANCE:
                raise _WrongAnswer(
                    f"{clip.signal}: a probability is off by {error:.3f}, at most {TOLERANCE} is allowed"
                )
            worst = max(worst, error)
        n_compared += 1
    if not n_compared:
        return _repeated(url, deadline)
    return f"{n_compared} golden answers of {card.name} {card.version} are right (off by {worst:.2g} at most)"


def _repeated(url: str, deadline: float) -> str:
    first, second = (_probabilities(url, "chords", 10.0, deadline) for _ in range(2))
    if first != second:
        raise _WrongAnswer("the same clip got two different answers")
    return (
        "the golden answer was NOT COMPARED, as no card at hand is of the model that serves (name it with --card); "
        "the same clip got the same finite answer twice"
    )


def _probabilities(url: str, signal: str, seconds: float, deadline: float, taxonomy: str = "") -> dict[str, float]:
    from ccmusic.models.golden import SIGNALS, recording

    if signal not in SIGNALS:
        raise _WrongAnswer(f"the card names an unknown golden signal {signal!r}")
    answer = _classified(url, recording(signal, seconds), deadline, taxonomy)
    try:
        levels = answer.field("levels")
        found = {p["genre"]: float(p["probability"]) for p in levels[max(levels, key=int)]}  # the finest is complete
    except (TypeError, LookupError, ValueError):
        raise _WrongAnswer(f"{signal}: status {answer.status}: {answer.body[:200].decode(errors='replace')}") from None
    if not all(map(math.isfinite, found.values())) or abs(sum(found.values()) - 1) > TOLERANCE:
        raise _WrongAnswer(f"{signal}: the probabilities are not finite, or their sum is not 1")
    return found


def _classified(url: str, recording: bytes, deadline: float, taxonomy: str) -> Answer:
    pause = threading.Event()
    path, headers = "/v1/classify" + (f"?taxonomy={taxonomy}" if taxonomy else ""), {"Content-Type": "audio/wav"}
    while (left := deadline - time.monotonic()) > 0:
        try:
            answer = ask(url, path, "POST", body=recording, headers=headers, timeout_seconds=left)
        except TimeoutError:
            break
        except OSError as error:
            raise _WrongAnswer(f"/v1/classify: {error}") from error
        if answer.status != 503:
            return answer
        pause.wait(POLL_SECONDS)  # busy, which is not wrong
    raise TimeoutError("/v1/classify did not answer a golden clip")


def add_commands(commands: Any) -> None:
    """Register ``gate`` with the command line's subparsers."""
    parser = commands.add_parser("gate", help="wait until a service is green and answers right")
    parser.add_argument("url", nargs="?", default=DEFAULT_URL, help=f"where it is (default: {DEFAULT_URL})")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="S", help="for all of it (default: 120)")
    parser.add_argument("--no-golden", action="store_false", dest="golden", help="do not ask the golden clips")
    parser.add_argument("--card", type=Path, metavar="PATH", help="card of the model that must be serving")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return gate(options.url, timeout_seconds=options.timeout, golden=options.golden, card=options.card)
