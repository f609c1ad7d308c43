"""Everything that can go wrong, as one tree, in the order in which the data meets it.

::

    CcmusicError
    ├── InvalidParameter        a value from outside that is not allowed
    ├── InvalidSettings         the configuration at start
    ├── AudioError              this recording cannot be used; another one may
    │   ├── UploadTooLarge      more bytes than allowed
    │   ├── UnsupportedMedia    not a format that is decoded here, or outside its bounds
    │   ├── UndecodableAudio    the right format, but broken
    │   ├── EmptyAudio          decodes to nothing
    │   ├── AudioTooLong        decodes to more than allowed
    │   └── Quarantined         ended two workers, and is not tried again
    ├── ModelError
    │   ├── ModelFileNotFound   the configured path does not exist
    │   ├── ModelRefused        the file is there but is not what its card promises
    │   ├── HubUnreachable      the hub that has the model does not answer, or may not be asked
    │   ├── CacheUnwritable     no room, or no right, to keep a model that was pulled
    │   ├── DependencyUnavailable  a library that the model needs cannot be used
    │   ├── ModelChanged        the network in memory is no longer the one that was proved
    │   └── NonFiniteOutput     the network answered NaN or infinity
    └── ServiceError            the recording is fine; the service cannot take it now
        ├── ModelNotReady       still loading, or loading failed
        ├── SwapInProgress      another model is being loaded already
        ├── Overloaded          too many wait, or too long
        ├── InferenceTimeout    the job's deadline passed
        ├── OutOfMemory         the worker had not enough memory for this recording
        ├── InsufficientStorage no room to receive the upload
        └── WorkerDied          the process that held the job ended

This module knows no HTTP: `ccmusic.serving.problems` gives each slug its status.
"""

from __future__ import annotations

__all__ = [
    "AudioError",
    "AudioTooLong",
    "CacheUnwritable",
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
    "NonFiniteOutput",
    "OutOfMemory",
    "Overloaded",
    "Quarantined",
    "ServiceError",
    "SwapInProgress",
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
"""The kinds of problems, a closed set (contract, section 4): the caller's, then ours."""


class CcmusicError(Exception):
    """Root of the tree; its text is a sentence that a user can act on.

    Attributes
    ----------
    slug : str
        The kind of problem, as API, command line and metrics spell it; one of `SLUGS`.
    """

    slug = "internal"

    @property
    def sentence(self) -> str:
        """The text as the contract words it, where that says more than the error's own."""
        return str(self)


class InvalidParameter(CcmusicError, ValueError):
    """A parameter of a request or of a call is not allowed.

    Parameters
    ----------
    name : str
        The parameter, as the caller spells it.
    reason : str
        What is wrong with it, for example ``must be 1 to 16, not 40``.
    """

    slug = "invalid-parameter"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)  # both in args, so that it survives pickling between processes
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


class InvalidSettings(CcmusicError, ValueError):
    """The configuration names an unknown or impossible value."""


class AudioError(CcmusicError):
    """This recording cannot be classified."""


class UploadTooLarge(AudioError):
    """The recording has more bytes than `max_upload_bytes`."""

    slug = "upload-too-large"


class UnsupportedMedia(AudioError):
    """Not a format that is decoded here, or its channels or sample rate lie outside the limits."""

    slug = "unsupported-media"


class UndecodableAudio(AudioError):
    """The format is known, but its content is broken."""

    slug = "undecodable-audio"


class EmptyAudio(AudioError):
    """The recording has no samples."""

    slug = "empty-audio"


class AudioTooLong(AudioError):
    """The recording decodes to more seconds than `max_seconds`."""

    slug = "audio-too-long"


class Quarantined(AudioError):
    """The recording ended two workers; it is refused without another try."""

    slug = "undecodable-audio"


class ModelError(CcmusicError):
    """The model cannot be loaded or does not answer rightly."""


class ModelFileNotFound(ModelError):
    """The configured model path does not exist."""

    @property
    def sentence(self) -> str:
        """`Model file not found:` and the path as it was configured."""
        return f"Model file not found: {self}"


class ModelRefused(ModelError):
    """The model's files disagree with its card, or its answers with its golden clips."""


class HubUnreachable(ModelError):
    """The hub that has the model does not answer, or may not be asked; another try may succeed."""


class CacheUnwritable(ModelError):
    """There is no room, or no right, to keep a model that is pulled."""


class DependencyUnavailable(ModelError):
    """A library that the pipeline needs cannot be imported or used."""


class ModelChanged(ModelError):
    """The network in this worker's memory no longer answers as it did when it was proved."""


class NonFiniteOutput(ModelError):
    """The network answered NaN or infinity."""


class ServiceError(CcmusicError):
    """The service cannot take this job now."""


class ModelNotReady(ServiceError):
    """The model is still loading, or loading failed."""

    slug = "model-not-ready"


class SwapInProgress(ServiceError):
    """Another model is being loaded already."""

    slug = "model-not-ready"


class Overloaded(ServiceError):
    """The queue is full; try again after `retry_after_seconds`.

    Parameters
    ----------
    message : str
        The sentence for people.
    retry_after_seconds : float
        When a place is likely to be free.
    """

    slug = "overloaded"

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message, retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return str(self.args[0])


class InferenceTimeout(ServiceError):
    """The job was stopped at its deadline."""

    slug = "inference-timeout"


class OutOfMemory(ServiceError):
    """The worker ran out of memory on this recording; it is replaced, and another try may succeed."""

    slug = "overloaded"


class InsufficientStorage(ServiceError):
    """There is no room to receive the upload."""

    slug = "insufficient-storage"


class WorkerDied(ServiceError):
    """The worker process that held the job ended before it answered."""
