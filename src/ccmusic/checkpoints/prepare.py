"""From the setting ``model`` to a model directory, through a cache whose keys are hashes of checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ccmusic.checkpoints.file_lock import file_lock
from ccmusic.errors import CacheUnwritable, HubUnreachable, ModelFileNotFound, ModelRefused
from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.models.store import EMBEDDED, ModelLocation, file_sha256, locate

if TYPE_CHECKING:
    from ccmusic.checkpoints.convert import Imported

logger = logging.getLogger(__name__)

OnStage = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Options:
    """How checkpoints are fetched and imported.

    Attributes
    ----------
    model_cache : Path
        Directory of fetched checkpoints (``hub``) and of imported models (``imported``).
    import_audio : Path or None
        Recordings on which precisions are measured; None: the examples of this package.
    hub_endpoint : str or None
        Address of a mirror.
    hub_token_to_mirror : bool
        Whether the hub's token is sent to that mirror.
    hub_offline : bool
        Use only what was fetched before.
    attempts : int
        Failed tries in a row after which a hub counts as unreachable.
    threads : int
        Threads of each network while it is measured.
    progress : bool
        Whether a download shows a progress bar.
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
    """Fetch and import a checkpoint unless the location has a model directory already.

    Parameters
    ----------
    location : ModelLocation
    options : Options
    on_stage : callable
        Called with a description of each stage as it begins.

    Returns
    -------
    location : ModelLocation
        With a directory.
    caveat : str or None
        Why the directory holds another model than the configured one.

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
                "check the network or set CCMUSIC_HUB_ENDPOINT, and restart"
            )
            return replace(locate(EMBEDDED), configured=location.configured, reference=location.reference), caveat
    if checkpoint is None or not checkpoint.is_file():
        raise ModelFileNotFound(location.configured)
    return replace(location, directory=cached(checkpoint, options, on_stage)), None


def fetch(location: ModelLocation, options: Options, on_stage: OnStage = lambda _: None) -> Path:
    """Fetch a checkpoint from its hub, or take it from the cache.

    Parameters
    ----------
    location : ModelLocation
        With a reference.
    options : Options
    on_stage : callable, optional

    Returns
    -------
    Path
        The checkpoint's ``save.pt``.

    Raises
    ------
    HubUnreachable
        The hub does not answer, and the checkpoint is not in the cache.
    """
    from ccmusic.checkpoints.hub import RetryPolicy, pull  # imported late: brings an HTTP client

    assert location.reference is not None  # noqa: S101  required of the caller
    on_stage(f"fetching {location.configured}")
    return pull(
        location.reference,
        cache=options.model_cache / "hub",
        endpoint=options.hub_endpoint,
        token_to_mirror=options.hub_token_to_mirror,
        offline=options.hub_offline,
        progress=options.progress,
        retry_policy=RetryPolicy(attempts=options.attempts),
    )


def cached(
    checkpoint: Path,
    options: Options,
    on_stage: OnStage = lambda _: None,
    *,
    features: str | None = None,
    on_imported: Callable[[Imported], object] = lambda _: None,
) -> Path:
    """Import a checkpoint into the cache unless it is there.

    If another process imports the same checkpoint, wait for it and use its result.

    Parameters
    ----------
    checkpoint : Path
        A file that ``torch.save`` wrote.
    options : Options
    on_stage : callable, optional
        Called with a description of each stage as it begins.
    features : {"cqt", "mel"}, optional
        The spectrogram that the checkpoint was trained on, where neither its folder nor its file is named for it. An
        entry that was imported with the other one is replaced.
    on_imported : callable, optional
        Called with the result of an import; not called if the checkpoint is in the cache already.

    Returns
    -------
    Path
        The model directory.

    Raises
    ------
    CacheUnwritable
        The cache has no space left or cannot be written.
    CcmusicError
        As `ccmusic.checkpoints.convert.import_checkpoint`.
    """
    # Imported late: it brings ONNX Runtime.
    from ccmusic.checkpoints.convert import RECIPE, import_checkpoint

    on_stage("hashing the checkpoint")
    digest = file_sha256(checkpoint)
    entries = options.model_cache / "imported"
    # the folder's name is part of the key because it names the spectrogram, which the bytes do not
    directory = entries / f"{digest[:24]}-{checkpoint.parent.name}-{RECIPE}"
    try:
        if _is_complete(directory, features):
            return directory
        entries.mkdir(parents=True, exist_ok=True)
        with file_lock(
            entries / f".{directory.name}.lock", lambda: on_stage("waiting for another process that imports it")
        ):
            if not _is_complete(directory, features):
                imported = import_checkpoint(
                    checkpoint,
                    directory,
                    features=features,
                    audio=options.import_audio,
                    threads=options.threads,
                    on_stage=on_stage,
                )
                on_imported(imported)
    except OSError as error:
        raise CacheUnwritable(
            f"the imported model cannot be kept in {entries} ({error.strerror or error}): "
            "set CCMUSIC_MODEL_CACHE to a directory that has free space and is writable"
        ) from error
    return directory


def _is_complete(directory: Path, features: str | None) -> bool:
    """Whether this is a model directory with all of its files, and over these features."""
    try:
        card = read_card(directory / CARD_NAME)
    except (ModelFileNotFound, ModelRefused):
        return False
    return (features is None or card.features.kind == f"{features}_db") and all(
        (directory / network.file).is_file() for network in card.networks
    )
