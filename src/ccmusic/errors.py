"""All errors as one tree, in the order in which a recording can meet them.

::

    CcmusicError
    ├── InvalidParameter        a parameter of a request or a call is not allowed
    ├── InvalidSettings         the configuration is not allowed
    ├── PackageMissing          an optional package cannot be imported
    ├── AudioError              this recording cannot be used
    │   ├── UploadTooLarge      it has too many bytes
    │   ├── UnsupportedMedia    its format is not supported, or its channels or sample rate are outside the limits
    │   ├── UndecodableAudio    its format is supported, but its content is broken
    │   │   └── TooCostly       it takes more memory or processor time to decode than its music needs
    │   ├── EmptyAudio          it has no samples
    │   ├── AudioTooLong        it has too many seconds
    │   └── Quarantined         it ended two workers, and is not tried again
    ├── ModelError              the model cannot be used
    │   ├── ModelFileNotFound   the configured path does not exist
    │   ├── ModelRefused        the files do not agree with the card
    │   ├── HubUnreachable      the hub does not answer, or must not be used
    │   ├── CacheUnwritable     a fetched or imported model cannot be saved
    │   ├── NoRoom              there is no process, thread or memory left to load it
    │   ├── DependencyUnavailable  a library or a device that the model needs cannot be used
    │   ├── ModelChanged        the network in memory has changed since it was loaded
    │   ├── ModelReplaced       a new worker loaded another model than the one in use
    │   └── NonFiniteOutput     the network returned NaN or infinity
    ├── ServiceError            the service cannot process this request now
    │   ├── ModelNotReady       the model is loading, or loading failed
    │   ├── SwapInProgress      another model is already being loaded
    │   ├── Overloaded          the queue is full, or the wait would be too long
    │   │   └── TooManyRequests this client sends more than it may
    │   ├── InferenceTimeout    the deadline of the job has passed
    │   ├── OutOfMemory         the worker did not have enough memory for this recording
    │   ├── InsufficientStorage there is no space for a file
    │   └── WorkerDied          the worker process ended before it answered
    ├── CatalogueError          the catalogue of a batch cannot be used
    │   └── CatalogueInUse      another run writes it
    └── TagError                the tags of a file cannot be read or written
        └── TagsInUse           another command writes the same files

This module does not know HTTP: `ccmusic.serving.problems` gives each slug its status.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "AudioError",
    "AudioTooLong",
    "CacheUnwritable",
    "CatalogueError",
    "CatalogueInUse",
    "CcmusicError",
    "DependencyUnavailable",
    "EmptyAudio",
    "HubUnreachable",
    "InferenceTimeout",
    "InsufficientStorage",
    "InvalidParameter",
    "InvalidSettings",
    "ModelChanged",
    "ModelError",
    "ModelFileNotFound",
    "ModelNotReady",
    "ModelRefused",
    "ModelReplaced",
    "NoRoom",
    "NonFiniteOutput",
    "OutOfMemory",
    "Overloaded",
    "PackageMissing",
    "Quarantined",
    "ServiceError",
    "SwapInProgress",
    "TagError",
    "TagsInUse",
    "TooCostly",
    "TooManyRequests",
    "UndecodableAudio",
    "UnsupportedMedia",
    "UploadTooLarge",
    "WorkerDied",
]


SLUGS: tuple[str, ...] = (
    "invalid-parameter",
    "upload-too-large",
    "unsupported-media",
    "undecodable-audio",
    "empty-audio",
    "audio-too-long",
    "model-not-ready",
    "overloaded",
    "inference-timeout",
    "insufficient-storage",
    "internal",
)
"""The kinds of problems, a closed set (docs/contract.md): first the caller's, then the service's."""


class CcmusicError(Exception):
    """Root of the tree. The text is a sentence from which a user knows what to do.

    Attributes
    ----------
    slug : str
        The kind of problem in the API, the command line and the metrics; one of `SLUGS`.
    """

    slug = "internal"

    @property
    def sentence(self) -> str:
        """The text as docs/contract.md fixes it; by default the text of the error."""
        return str(self)


class InvalidParameter(CcmusicError, ValueError):
    """A parameter of a request or of a call is not allowed.

    Parameters
    ----------
    name : str
        Name of the parameter.
    reason : str
        What is wrong, for example ``must be 1 to 16, not 40``.
    """

    slug = "invalid-parameter"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)  # both are in args, because pickle restores an error from its args
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


class InvalidSettings(CcmusicError, ValueError):
    """The configuration has an unknown name or a value that is not allowed."""


class PackageMissing(CcmusicError):
    """An optional package cannot be imported. The text names the extra that installs it."""


class AudioError(CcmusicError):
    """This recording cannot be used; another one may."""


class UploadTooLarge(AudioError):
    """The recording has more bytes than `max_upload_bytes`."""

    slug = "upload-too-large"


class UnsupportedMedia(AudioError):
    """The format is not supported, or channels or sample rate are outside the limits."""

    slug = "unsupported-media"


class UndecodableAudio(AudioError):
    """The format is supported, but the content is broken."""

    slug = "undecodable-audio"


class TooCostly(UndecodableAudio):
    """The recording takes more memory or processor time to decode than the music in it needs."""


class EmptyAudio(AudioError):
    """The recording has no samples."""

    slug = "empty-audio"


class AudioTooLong(AudioError):
    """The recording has more seconds than `max_seconds`."""

    slug = "audio-too-long"


class Quarantined(AudioError):
    """The recording ended two workers, and is not tried again."""

    slug = "undecodable-audio"


class ModelError(CcmusicError):
    """The model cannot be loaded, or its answers are wrong."""


class ModelFileNotFound(ModelError):
    """The configured model path does not exist."""

    @property
    def sentence(self) -> str:
        """`Model file not found:` and the configured path."""
        return f"Model file not found: {self}"


class ModelRefused(ModelError):
    """The files do not agree with the card, or the answers with the golden clips."""


class HubUnreachable(ModelError):
    """The hub does not answer, or must not be used. Another try may succeed."""


class CacheUnwritable(ModelError):
    """A fetched or imported model cannot be saved: there is no space, or no permission."""


class DependencyUnavailable(ModelError):
    """A library or a device that the model needs cannot be used."""


class NoRoom(ModelError):
    """A limit of the system or of the container is reached: there is no process, thread or memory to load the model."""


class ModelChanged(ModelError):
    """The network in this worker's memory does not answer as it did when it was loaded."""


class ModelReplaced(ModelError):
    """A new worker loaded another model than the one in use, so it must not answer."""


class NonFiniteOutput(ModelError):
    """The network returned NaN or infinity."""


class ServiceError(CcmusicError):
    """The service cannot process this request now. The recording may be fine."""


class ModelNotReady(ServiceError):
    """The model is still loading, or loading failed."""

    slug = "model-not-ready"


class SwapInProgress(ServiceError):
    """Another model is already being loaded."""

    slug = "model-not-ready"


class Overloaded(ServiceError):
    """The queue is full, or the wait would be too long; try again after `retry_after_seconds`.

    Parameters
    ----------
    message : str
        The sentence for people.
    retry_after_seconds : float
        Time after which there is probably a free place.
    """

    slug = "overloaded"

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message, retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return str(self.args[0])


class TooManyRequests(Overloaded):
    """This client sends more than it may, or its recordings end workers; others are served."""


class InferenceTimeout(ServiceError):
    """The deadline of the job has passed.

    Attributes
    ----------
    by_recording : bool
        Whether this recording may be the cause, and not the service.
    """

    slug = "inference-timeout"
    by_recording = False


class OutOfMemory(ServiceError):
    """The worker did not have enough memory for this recording. It is replaced, and another try may succeed."""

    slug = "overloaded"


class InsufficientStorage(ServiceError):
    """There is no space for a file."""

    slug = "insufficient-storage"


class WorkerDied(ServiceError):
    """The worker process ended before it answered."""


class CatalogueError(CcmusicError):
    """The catalogue of a batch cannot be opened, read or written."""


class CatalogueInUse(CatalogueError):
    """Another run writes this catalogue."""


class TagError(CcmusicError):
    """The tags of a file cannot be read or written; the file is as it was."""


class TagsInUse(TagError):
    """Another `ccmusic tag` writes the same files."""


@contextmanager
def of_extra(
    extra: str, need: str, instead: str = "", kind: type[PackageMissing | DependencyUnavailable] = PackageMissing
) -> Iterator[None]:
    """Name the extra if an import in the ``with`` block fails.

    Parameters
    ----------
    extra : str
        As in ``pip install 'ccmusic[EXTRA]'``.
    need : str
        What needs which package, for example ``tags need the package mutagen``.
    instead : str
        What does without the package.
    kind : type
        `DependencyUnavailable` where the package loads, runs or imports the model.

    Raises
    ------
    PackageMissing or DependencyUnavailable
    """
    try:
        yield
    except ImportError as error:
        otherwise = f", or {instead}" if instead else ""
        raise kind(
            f"{need}, which cannot be imported ({error}): install the extra with pip install 'ccmusic[{extra}]'"
            f"{otherwise}"
        ) from error


def described(error: Exception) -> dict[str, str]:
    """The type and the sentence of an error, as the API, the command line and the catalogue of a batch give it."""
    if isinstance(error, MemoryError):
        error = OutOfMemory("there is not enough memory for this recording; analyse its beginning (--windows first30)")
    if isinstance(error, CcmusicError):
        return {"type": error.slug, "detail": str(error)}
    return {"type": CcmusicError.slug, "detail": f"unexpected {type(error).__name__}: {error}"}
