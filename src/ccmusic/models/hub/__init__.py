"""Checkpoints that lie on Hugging Face or ModelScope."""

from ccmusic.models.hub.listing import RemoteFile, find_checkpoint
from ccmusic.models.hub.pull import pull
from ccmusic.models.hub.reference import DEFAULT_CHECKPOINT, HubReference, parse_reference
from ccmusic.models.hub.wire import Patience

__all__ = [
    "DEFAULT_CHECKPOINT",
    "HubReference",
    "Patience",
    "RemoteFile",
    "find_checkpoint",
    "parse_reference",
    "pull",
]
