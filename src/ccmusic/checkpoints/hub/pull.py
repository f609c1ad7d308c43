"""Downloads a checkpoint: decides which hub is asked, and uses the cache where it can."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ccmusic.checkpoints.hub import huggingface, modelscope
from ccmusic.checkpoints.hub.cache import HubCache
from ccmusic.checkpoints.hub.client import HubClient, refusal
from ccmusic.checkpoints.hub.http import Denied, RetryPolicy
from ccmusic.checkpoints.hub.huggingface import HuggingFace
from ccmusic.checkpoints.hub.listing import checkpoints, expected_file, find_checkpoint
from ccmusic.checkpoints.hub.modelscope import ModelScope
from ccmusic.checkpoints.hub.transfer import fetch
from ccmusic.errors import (
    CacheUnwritable,
    DependencyUnavailable,
    HubUnreachable,
    InvalidParameter,
    ModelError,
    ModelFileNotFound,
)
from ccmusic.models.hub_reference import HubName, HubReference

_log = logging.getLogger(__name__)

_HUBS = {"huggingface": huggingface, "modelscope": modelscope}


def pull(
    reference: HubReference,
    *,
    cache: Path,
    endpoint: str | None = None,
    token_to_mirror: bool = False,
    offline: bool = False,
    progress: bool = True,
    retry_policy: RetryPolicy | None = None,
) -> Path:
    """Download a checkpoint unless it is in the cache. Its size and hash are checked; it is not opened.

    Parameters
    ----------
    reference : HubReference
        The checkpoint. If it names a full commit hash and is in the cache, no hub is asked.
    cache : Path
        Directory of downloaded checkpoints; created if missing.
    endpoint : str, optional
        A mirror, ``http(s)://host``; for a reference to `auto`, of Hugging Face. Default: the variable ``HF_ENDPOINT``
        or ``MODELSCOPE_ENDPOINT``, else the hub itself.
    token_to_mirror : bool
        Send the token (``HF_TOKEN`` or the token file of Hugging Face's library; ``MODELSCOPE_API_TOKEN``) to a mirror
        too. It is always sent to the hubs themselves.
    offline : bool
        Use the cache only; the variable ``HF_HUB_OFFLINE`` does the same.
    progress : bool
        Show a progress bar on standard error, if that is a terminal.
    retry_policy : RetryPolicy, optional

    Returns
    -------
    Path
        ``save.pt``, in a directory with the checkpoint's name.

    Raises
    ------
    HubUnreachable
        No hub answers, or `offline`, and the file is not in the cache. If it is, its path is returned, with a warning
        in the log.
    ModelFileNotFound
        There is no such repository, revision or checkpoint; the text lists the checkpoints that exist.
    ModelRefused
        It is gated or private, or its bytes are not those of the listing.
    CacheUnwritable
        The cache has no space left or cannot be written.
    DependencyUnavailable
        ``ccmusic[hub]`` is not installed, and only Hugging Face is asked.
    InvalidParameter
        The endpoint is not an address.
    """
    hub_cache = HubCache(cache.expanduser().absolute(), reference)
    hubs: Sequence[HubName] = ("huggingface", "modelscope") if reference.source == "auto" else (reference.source,)
    if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        if (known := _recall(hub_cache, hubs)) is not None:
            return known
        raise HubUnreachable(
            f"{reference} is not in {hub_cache.root}, and no hub may be asked (offline): pull it once with a network, "
            "or copy the cache of a machine that has it"
        )
    if re.fullmatch("[0-9a-f]{40}", reference.revision or "") and (known := _recall(hub_cache, hubs)) is not None:
        return known
    problems: list[ModelError] = []
    for name in hubs:
        mirror = endpoint if name == hubs[0] else None
        try:
            return _pull_from(name, hub_cache, mirror, token_to_mirror, progress, retry_policy or RetryPolicy())
        except CacheUnwritable:
            raise  # the file of the other hub would have no room either
        except ModelError as problem:
            _log.info("%s not from %s: %s", reference, name, problem)
            problems.append(problem)
    if all(isinstance(problem, HubUnreachable | DependencyUnavailable) for problem in problems):
        known = _recall(hub_cache, hubs)
        if known is not None:
            _log.warning("%s; the copy in the cache is used", _combined(problems))
            return known
    raise _combined(problems)


def _pull_from(
    name: HubName,
    cache: HubCache,
    endpoint: str | None,
    token_to_mirror: bool,
    progress: bool,
    retry_policy: RetryPolicy,
) -> Path:
    reference = cache.reference
    client, may_send_token = _client(name, endpoint, token_to_mirror, retry_policy)
    listing = client.listing(reference.repository, reference.revision)
    file = find_checkpoint(listing.files, reference.checkpoint)
    if file is None:
        existing = ", ".join(checkpoints(listing.files)) or "none"
        raise ModelFileNotFound(
            f"{reference}: {client.endpoint} has no such checkpoint in {reference.repository}; "
            f"its checkpoints: {existing}"
        )
    expected = expected_file(file.path, file.size, file.sha256)
    if not cache.has(expected):
        with cache.lock(expected):
            if not cache.has(expected):  # another process may have downloaded it meanwhile
                try:
                    download = client.download(reference.repository, listing.revision, file)
                    fetch(download, expected, cache.path(expected), progress=progress, retry_policy=retry_policy)
                except Denied as denied:
                    where = f"{reference.repository}/{file.path} at {client.endpoint}"
                    raise refusal(denied, where, _HUBS[name].TOKEN_VARIABLE, may_send_token) from denied
    cache.remember(name, expected)
    return cache.path(expected)


def _client(
    name: HubName, endpoint: str | None, token_to_mirror: bool, retry_policy: RetryPolicy
) -> tuple[HubClient, bool]:
    """The client of a hub, and whether it may send the token."""
    module = _HUBS[name]
    address = (endpoint or os.environ.get(module.ENDPOINT_VARIABLE) or module.OFFICIAL[0]).rstrip("/")
    if not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", address):
        raise InvalidParameter("endpoint", f"must be http(s)://host, without a name or password, not {address!r}")
    may_send_token = token_to_mirror or address in module.OFFICIAL
    client = HuggingFace if name == "huggingface" else ModelScope
    return client(address, may_send_token, retry_policy), may_send_token


def _recall(cache: HubCache, hubs: Sequence[HubName]) -> Path | None:
    return next((path for name in hubs if (path := cache.recall(name)) is not None), None)


def _combined(problems: Sequence[ModelError]) -> ModelError:
    """One error for all hubs; its class is that of a hub that answered, if one did."""
    answered = [error for error in problems if not isinstance(error, HubUnreachable | DependencyUnavailable)]
    kind = type((answered or problems)[0])
    return problems[0] if len(problems) == 1 else kind("; and ".join(str(error) for error in problems))
