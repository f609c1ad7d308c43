"""Checkpoints that lie on Hugging Face or ModelScope."""

from ccmusic.checkpoints.hub.listing import RemoteFile, find_checkpoint
from ccmusic.checkpoints.hub.pull import pull
from ccmusic.checkpoints.hub.wire import RetryPolicy
from ccmusic.models.hub_reference import DEFAULT_CHECKPOINT, HubReference, parse_reference

__all__ = [
    "DEFAULT_CHECKPOINT",
    "HubReference",
    "RemoteFile",
    "RetryPolicy",
    "find_checkpoint",
    "parse_reference",
    "pull",
]
