"""Send the golden clips to a running service and compare its answers with the model's card."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from ccmusic.operations.http_client import Response, request

if TYPE_CHECKING:  # imported late: the command line must start fast
    from ccmusic.models.card import Card
    from ccmusic.models.card_parts import Head

POLL_SECONDS = 0.25
TOLERANCE = 0.02
"""Largest difference of a probability that may come from another processor. More is another model or pipeline."""


class WrongAnswer(Exception):
    """An answer that a healthy service does not give; the text says which."""


def check_golden_answers(url: str, card: Card | None, deadline: float) -> str:
    """Compare the service's answers to every golden clip with a card.

    Parameters
    ----------
    url : str
    card : Card or None
        None if the card of the model is not known. One clip is then sent twice, and the two answers must be equal.
    deadline : float
        On the monotonic clock.

    Returns
    -------
    str
        What was compared, as a sentence.

    Raises
    ------
    WrongAnswer
    TimeoutError
        The service was too busy until the deadline.
    """
    return _compare_with_card(url, card, deadline) if card is not None else _compare_two_answers(url, deadline)


def _compare_with_card(url: str, card: Card, deadline: float) -> str:
    import numpy as np

    from ccmusic.inference.aggregate import window_probabilities

    worst, n_compared = 0.0, 0
    for clip in card.golden:
        if clip.seconds > card.window_seconds:
            continue  # the card has the logits of the clip as one window, but the service would cut it
        outputs: list[tuple[str, Card | Head, tuple[float, ...]]] = [("", card, clip.logits)]
        outputs += [(head.taxonomy, head, clip.heads[head.taxonomy]) for head in card.heads]
        for taxonomy, output, logits in outputs:
            estimated = _probabilities(url, clip.signal, clip.seconds, deadline, taxonomy)
            if set(estimated) != set(output.labels):
                raise WrongAnswer(f"{clip.signal}: its genres are not the card's labels")
            expected = window_probabilities(np.array([logits]), clip.seconds, output)[0]
            error = max(abs(estimated[label] - value) for label, value in zip(output.labels, expected, strict=True))
            if error > TOLERANCE:
                raise WrongAnswer(f"{clip.signal}: a probability is off by {error:.3f}, at most {TOLERANCE} is allowed")
            worst = max(worst, error)
        n_compared += 1
    if not n_compared:
        return _compare_two_answers(url, deadline)
    return f"{n_compared} golden answers of {card.name} {card.version} are right (off by {worst:.2g} at most)"


def _compare_two_answers(url: str, deadline: float) -> str:
    first, second = (_probabilities(url, "chords", 10.0, deadline) for _ in range(2))
    if first != second:
        raise WrongAnswer("the same clip got two different answers")
    return (
        "the golden answer was NOT COMPARED, because the card of the model that serves is not known (name it with "
        "--card); the same clip got the same finite answer twice"
    )


def _probabilities(url: str, signal: str, seconds: float, deadline: float, taxonomy: str = "") -> dict[str, float]:
    from ccmusic.models.golden import SIGNALS, recording

    if signal not in SIGNALS:
        raise WrongAnswer(f"the card names an unknown golden signal {signal!r}")
    return read_probabilities(_classify(url, recording(signal, seconds), deadline, taxonomy), signal)


def read_probabilities(response: Response, signal: str) -> dict[str, float]:
    """Return the probability of each genre of the finest level of a response.

    Raises
    ------
    WrongAnswer
        The response has no such level, or its probabilities are not finite, or their sum is not 1.
    """
    try:
        levels = response.field("levels")
        found = {p["genre"]: float(p["probability"]) for p in levels[max(levels, key=int)]}  # the finest is complete
    except (TypeError, LookupError, ValueError):
        shown = response.body[:200].decode(errors="replace")
        raise WrongAnswer(f"{signal}: status {response.status}: {shown}") from None
    if not all(map(math.isfinite, found.values())) or abs(sum(found.values()) - 1) > TOLERANCE:
        raise WrongAnswer(f"{signal}: the probabilities are not finite, or their sum is not 1")
    return found


def _classify(url: str, recording: bytes, deadline: float, taxonomy: str) -> Response:
    pause = threading.Event()
    path, headers = "/v1/classify" + (f"?taxonomy={taxonomy}" if taxonomy else ""), {"Content-Type": "audio/wav"}
    while (left := deadline - time.monotonic()) > 0:
        try:
            response = request(url, path, "POST", body=recording, headers=headers, timeout_seconds=left)
        except TimeoutError:
            break
        except OSError as error:
            raise WrongAnswer(f"/v1/classify: {error}") from error
        if response.status != 503:
            return response
        pause.wait(POLL_SECONDS)  # the service is busy, which is not wrong
    raise TimeoutError("/v1/classify did not answer a golden clip")
