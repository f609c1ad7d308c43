"""From what the setting ``model`` names to a model directory, through a cache keyed by the checkpoint's hash."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ccmusic.errors import CacheUnwritable, HubUnreachable, ModelFileNotFound, ModelRefused
from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.models.store import EMBEDDED, ModelLocation, file_sha256, locate

logger = logging.getLogger(__name__)

OnStage = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Options:
    """Where imported and fetched models are kept, and how.

    Attributes
    ----------
    model_cache : Path
    import_audio : Path or None
        Recordings on which precisions are measured; our examples by default.
    hub_endpoint : str or None
        A mirror.
    hub_token_to_mirror : bool
        Whether that mirror is shown the hub's token.
    hub_offline : bool
        Never ask a hub.
    attempts : int
        Tries in a row without an answer after which a hub counts as away.
    threads : int
        Of each network while it is measured.
    progress : bool
        Whether a bar is drawn while something is fetched.
    """

    model_cache: Path
    import_audio: Path | None = None
    hub_endpoint: str | None = None
    hub_token_to_mirror: bool = False
    hub_offline: bool = False
    attempts: int = 3
    threads: int = 1
    progress: bool = False


def prepare(
    location: ModelLocation, options: Options, on_stage: OnStage = lambda _: None
) -> tuple[ModelLocation, str | None]:
    """Make sure that there is a model directory.

    Parameters
    ----------
    location : ModelLocation
    options : Options
    on_stage : callable
        Told in words what is being done.

    Returns
    -------
    location : ModelLocation
        With a directory.
    caveat : str or None
        Why another model than the one that was asked for lies there.

    Raises
    ------
    CcmusicError
        As `ccmusic.checkpoints.convert.import_checkpoint`.
    """
    if location.directory is not None:
        return location, None
    checkpoint = location.checkpoint
    if location.reference is not None:
        try:
            checkpoint = fetch(location, options, on_stage)
        except HubUnreachable as error:
            caveat = (
                f"{location.configured} could not be fetched, so the embedded model serves: {error}; "
                "see to the network, or to CCMUSIC_HUB_ENDPOINT, and start again"
            )
            return replace(locate(EMBEDDED), configured=location.configured, reference=location.reference), caveat
    if checkpoint is None or not checkpoint.is_file():
        raise ModelFileNotFound(location.configured)
    return replace(location, directory=cached(checkpoint, options, on_stage)), None


def fetch(location: ModelLocation, options: Options, on_stage: OnStage = lambda _: None) -> Path:
    """Fetch a checkpoint from its hub, or find it where it was put before.

    Raises
    ------
    HubUnreachable
        The hub does not answer, and nothing was fetched before.
    """
    from ccmusic.checkpoints.hub import RetryPolicy, pull  # a client with imports of its own

    assert location.reference is not None  # noqa: S101  of a hub is what this is for
    on_stage(f"fetching {location.configured}")
    return pull(
        location.reference,
        cache=options.model_cache / "hub",
        endpoint=options.hub_endpoint,
        token_to_mirror=options.hub_token_to_mirror,
        offline=options.hub_offline,
        progress=options.progress,
        patience=RetryPolicy(attempts=options.attempts),
    )


def cached(checkpoint: Path, options: Options, on_stage: OnStage = lambda _: None) -> Path:
    """The model directory of a checkpoint, made now unless it was made before.

    Two processes that want the same one do not make it twice: the second waits.

    Raises
    ------
    CacheUnwritable
        No room in the cache, or no right to write there.
    """
    # Here and not above: it brings the network's runtime, and a model that lies ready needs none of it.
    from ccmusic.checkpoints.convert import RECIPE, import_checkpoint

    on_stage("hashing the checkpoint")
    digest = file_sha256(checkpoint)
    place = options.model_cache / "imported"
    # of what its folder says of its features, too: the same bytes under another name may be another model
    directory = place / f"{digest[:24]}-{checkpoint.parent.name}-{RECIPE}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _alone(place / f".{directory.name}.lock", on_stage):
            if not _whole(directory):
                import_checkpoint(
                    checkpoint, directory, audio=options.import_audio, threads=options.threads, on_stage=on_stage
                )
    except OSError as error:
        raise CacheUnwritable(
            f"the imported model cannot be kept in {place} ({error.strerror or error}): "
            "set CCMUSIC_MODEL_CACHE to a directory with room that may be written to"
        ) from error
    return directory


def _whole(directory: Path) -> bool:
    try:
        card = read_card(directory / CARD_NAME)
    except (ModelFileNotFound, ModelRefused):
        return False
    return all((directory / network.file).is_file() for network in card.networks)


@contextmanager
def _alone(path: Path, on_stage: OnStage) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_stage("waiting for another process that imports it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
