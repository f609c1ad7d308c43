"""What the model's files on disk hold now, compared with the model in use."""

from __future__ import annotations

import threading

from ccmusic.health.clock import CLOCK
from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.models.store import ModelLocation, file_sha256, file_state
from ccmusic.workers.served_model import WHAT_TO_DO, ServedModel


class ModelFiles:
    """Compares card and network on disk with the model in use. Thread-safe.

    The card is read each time. The network is hashed when its file has changed, and otherwise once a period.

    Parameters
    ----------
    period_seconds : float, optional
        Longest time between two hashes of an unchanged file; unlimited by default.
    """

    def __init__(self, period_seconds: float = float("inf")) -> None:
        self._period_seconds = period_seconds
        self._lock = threading.Lock()
        self._seen: object = None
        self._hashed_at = float("-inf")
        self._found = ""

    def difference(self, location: ModelLocation, served: ServedModel) -> str | None:
        """How the files differ from the model in use, and what to do; None if a new worker would load that model.

        Parameters
        ----------
        location : ModelLocation
            Its directory exists.
        served : ServedModel

        Raises
        ------
        ModelError, OSError
            A file cannot be read.
        """
        assert location.directory is not None  # noqa: S101  the caller has checked it
        expected = served.identity.sha256
        card = read_card(location.directory / CARD_NAME)
        if different := served.difference_to_card(card):
            return (
                f"{CARD_NAME} on disk is that of {card.name} {card.version} {card.sha256[:12]}, the model in use is "
                f"{served.title} (different: {', '.join(different)}); new workers are refused: {WHAT_TO_DO}"
            )
        file = next(network.file for network in card.networks if network.sha256 == expected)
        found = self._sha256(location, file)
        if found != expected:
            return (
                f"{file} on disk has SHA-256 {found[:12]}..., the model in use has {expected[:12]}...; "
                "the next start would not load it: restore the file"
            )
        return None

    def _sha256(self, location: ModelLocation, name: str) -> str:
        assert location.directory is not None  # noqa: S101  see above
        path = location.directory / name
        with self._lock:
            seen = (path, file_state(path))
            if seen != self._seen or CLOCK.now() - self._hashed_at > self._period_seconds:
                self._found = file_sha256(path)
                self._seen, self._hashed_at = seen, CLOCK.now()
            return self._found
