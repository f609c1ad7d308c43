"""Finds a model on disk and checks that its file has the hash of its card."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ccmusic.errors import ModelError, ModelFileNotFound, ModelRefused
from ccmusic.models.card import CARD_NAME, Card, read_card
from ccmusic.models.card_parts import Precision
from ccmusic.models.hub_reference import HubReference, parse_reference

EMBEDDED = "embedded"
EMBEDDED_DIRECTORY = Path(__file__).parent / "embedded"

CHECKPOINT_NAME = "save.pt"
CHECKPOINT_SUFFIXES = (".pt", ".pth")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits; it is read in blocks.

    Raises
    ------
    OSError
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class ModelLocation:
    """Where a model is, and the requested precision.

    Attributes
    ----------
    configured : str
        The setting as the operator wrote it; messages repeat it.
    directory : Path or None
        The model directory, absolute; None until it is made from `checkpoint` or `reference`.
    checkpoint : Path or None
        A PyTorch checkpoint, absolute.
    reference : HubReference or None
        A checkpoint on a hub.
    precision : str or None
        The requested precision; None uses the card's.
    """

    configured: str
    directory: Path | None
    checkpoint: Path | None = None
    reference: HubReference | None = None
    precision: Precision | None = None

    def missing(self) -> str | None:
        """Path, as configured, of the first file of this model that is not on disk; None if all exist."""
        if self.checkpoint is not None and not self.checkpoint.is_file():
            return self.configured
        if self.directory is None:
            return None
        card_path = self.directory / CARD_NAME
        if not card_path.is_file():
            return self._as_configured(CARD_NAME)
        try:
            name = read_card(card_path).at(self.precision).file
        except ModelRefused:
            return None  # the file exists; the loader reports that it is not a card
        except ModelFileNotFound:
            return self._as_configured(CARD_NAME)
        return None if (self.directory / name).is_file() else self._as_configured(name)

    def files_state(self) -> tuple[tuple[int, ...] | None, ...]:
        """Inode, size and times of each file of this model; None for a file that is not on disk.

        Another value means that a file was written, replaced, deleted or restored. Links are followed.
        """
        paths = [] if self.checkpoint is None else [self.checkpoint]
        if self.directory is not None:
            paths.append(self.directory / CARD_NAME)
            with suppress(ModelError):
                networks = read_card(self.directory / CARD_NAME).networks
                paths += [self.directory / network.file for network in networks]
        return tuple(map(file_state, paths))

    def preferring(self, precision: Precision) -> ModelLocation:
        """The same location in this precision, unless one was requested."""
        return self if self.precision is not None else replace(self, precision=precision)

    def _as_configured(self, name: str) -> str:
        made = self.checkpoint is not None or self.reference is not None
        if self.directory is not None and (made or self.configured == EMBEDDED):
            return str(self.directory / name)
        return self.configured if not Path(self.configured).is_dir() else str(Path(self.configured) / name)


def file_state(path: Path) -> tuple[int, ...] | None:
    """Inode, size and times of a file, which change when it is written or replaced; None if it cannot be found."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def locate(configured: str, precision: Precision | None = None) -> ModelLocation:
    """The location for the setting ``model``; it need not exist.

    Parameters
    ----------
    configured : str
        `embedded`; a model directory, or the path of its ``card.json``; a checkpoint, or the directory of its
        ``save.pt``; or a checkpoint on a hub.
    precision : str, optional
        The requested precision.

    Returns
    -------
    ModelLocation
        Without a directory for a checkpoint: `ccmusic.checkpoints` makes one.
    """
    if configured == EMBEDDED:
        return ModelLocation(configured, EMBEDDED_DIRECTORY, precision=precision)
    if (reference := parse_reference(configured)) is not None:
        return ModelLocation(configured, None, reference=reference, precision=precision)
    path = Path(configured).expanduser().absolute()
    if path.suffix in CHECKPOINT_SUFFIXES and not path.is_dir():
        return ModelLocation(configured, None, checkpoint=path, precision=precision)
    if (path / CHECKPOINT_NAME).is_file() and not (path / CARD_NAME).exists():
        return ModelLocation(configured, None, checkpoint=path / CHECKPOINT_NAME, precision=precision)
    return ModelLocation(configured, path.parent if path.name == CARD_NAME else path, precision=precision)


def read_model(location: ModelLocation) -> tuple[Card, bytes]:
    """Read a model's card and network; refuse a network whose hash is not the card's.

    Parameters
    ----------
    location : ModelLocation

    Returns
    -------
    card : Card
    model : bytes
        Content of the network's file.

    Raises
    ------
    ModelFileNotFound
        A file does not exist; the text is its path as configured.
    ModelRefused
        The card is invalid, or the hash differs.
    """
    if (missing := location.missing()) is not None:
        raise ModelFileNotFound(missing)
    if location.directory is None:
        raise ModelRefused(f"{location.configured} is a checkpoint: import it first, with `ccmusic models import`")
    card = read_card(location.directory / CARD_NAME).at(location.precision)
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
