"""Checkpoints on Hugging Face and ModelScope, downloaded into a cache.

- `pull`: which hub, and whether the cache has the file already
- `listing`: which file of a repository is the checkpoint, and what its bytes must be
- `client`: what both hubs can do; `huggingface` and `modelscope` implement it
- `cache`: where downloaded files are, and which file a name meant last
- `transfer`: one file, resumed, checked by its hash
- `http`: requests with time-outs and retries
"""

from ccmusic.checkpoints.hub.http import RetryPolicy
from ccmusic.checkpoints.hub.listing import RemoteFile, find_checkpoint
from ccmusic.checkpoints.hub.pull import pull
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
