"""Where models are found, and the check that their bytes are what their card promises."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ccmusic.errors import ModelFileNotFound, ModelRefused
from ccmusic.models.card import CARD_NAME, Card, read_card

EMBEDDED = "embedded"
EMBEDDED_DIRECTORY = Path(__file__).parent / "embedded"


@dataclass(frozen=True, slots=True)
class ModelLocation:
    """A model directory and the name under which it was asked for.

    Attributes
    ----------
    configured : str
        As the operator wrote it; messages repeat it.
    directory : Path
        Absolute.
    """

    configured: str
    directory: Path

    def missing(self) -> str | None:
        """The path, as configured, of the first file of this model that is not on disk; None when all are there."""
        card_path = self.directory / CARD_NAME
        if not card_path.is_file():
            return self._as_configured(CARD_NAME)
        try:
            name = read_card(card_path).file
        except ModelRefused:
            return None  # it is there; that it is no card is for the loader to say
        except ModelFileNotFound:
            return self._as_configured(CARD_NAME)
        return None if (self.directory / name).is_file() else self._as_configured(name)

    def _as_configured(self, name: str) -> str:
        if self.configured == EMBEDDED:
            return str(self.directory / name)
        return self.configured if not Path(self.configured).is_dir() else str(Path(self.configured) / name)


def locate(configured: str) -> ModelLocation:
    """Turn the setting ``model`` into a place on disk; whether anything is there is not looked at.

    Parameters
    ----------
    configured : str
        `embedded`, a model directory, or the path of its ``card.json``.

    Returns
    -------
    ModelLocation
    """
    if configured == EMBEDDED:
        return ModelLocation(configured, EMBEDDED_DIRECTORY)
    path = Path(configured).expanduser().absolute()
    return ModelLocation(configured, path.parent if path.name == CARD_NAME else path)


def read_model(location: ModelLocation) -> tuple[Card, bytes]:
    """Read a model's card and network, and refuse a network that is not the card's.

    Parameters
    ----------
    location : ModelLocation

    Returns
    -------
    card : Card
    model : bytes
        The network's file, whose SHA-256 is the card's.

    Raises
    ------
    ModelFileNotFound
        A file is missing; the text is its path as configured.
    ModelRefused
        The card is not a card, or the hash differs.
    """
    if (missing := location.missing()) is not None:
        raise ModelFileNotFound(missing)
    card = read_card(location.directory / CARD_NAME)
    path = location.directory / card.file
    try:
        model = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileNotFound(str(path)) from None
    except OSError as error:
        raise ModelRefused(f"{card.file} cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(model).hexdigest()
    if digest != card.sha256:
        raise ModelRefused(
            f"{card.file} has SHA-256 {digest[:12]}..., its card promises {card.sha256[:12]}...; "
            "the file is damaged or was changed: fetch the model again"
        )
    return card, model
