"""Pulling a checkpoint: from which hub, from the cache if it is there, and what to say when neither has it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ccmusic.checkpoints.hub import huggingface, modelscope
from ccmusic.checkpoints.hub.cache import Shelf
from ccmusic.checkpoints.hub.hubs import Hub, refusal
from ccmusic.checkpoints.hub.huggingface import HuggingFace
from ccmusic.checkpoints.hub.listing import checkpoints, find_checkpoint, promise
from ccmusic.checkpoints.hub.modelscope import ModelScope
from ccmusic.checkpoints.hub.transfer import fetch
from ccmusic.checkpoints.hub.wire import Denied, RetryPolicy
from ccmusic.errors import (
    CacheUnwritable,
    DependencyUnavailable,
    HubUnreachable,
    InvalidParameter,
    ModelError,
    ModelFileNotFound,
)
from ccmusic.models.hub_reference import Hub as HubName
from ccmusic.models.hub_reference import HubReference

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
    patience: RetryPolicy | None = None,
) -> Path:
    """Bring a checkpoint to this machine, once; its bytes are what the hub's listing promises. It is not opened.

    Parameters
    ----------
    reference : HubReference
        Of which checkpoint. A reference at a whole commit that is in the cache is not asked for again.
    cache : Path
        Directory for pulled checkpoints; made if need be.
    endpoint : str, optional
        A mirror, ``http(s)://host``; for a reference to `auto`, of Hugging Face. Default: the variable ``HF_ENDPOINT``
        or ``MODELSCOPE_ENDPOINT``, else the hub itself.
    token_to_mirror : bool
        Show the token (``HF_TOKEN`` or the token file of Hugging Face's library; ``MODELSCOPE_API_TOKEN``) to a mirror
        too. The hubs themselves are always shown it.
    offline : bool
        Ask nobody; the variable ``HF_HUB_OFFLINE`` does the same.
    progress : bool
        A bar on standard error, if that is a terminal.
    patience : RetryPolicy, optional
        Time-outs and tries.

    Returns
    -------
    Path
        ``save.pt``, in a directory with the checkpoint's name.

    Raises
    ------
    HubUnreachable
        No hub answers, or none may be asked, and the cache has no such file. When the cache has it, that is the answer,
        with a warning in the log.
    ModelFileNotFound
        There is no such repository, revision or checkpoint; the text lists what there is.
    ModelRefused
        It is gated or private, or it is not what the listing promises.
    CacheUnwritable
        No room in the cache, or no right to write there.
    DependencyUnavailable
        ``ccmusic[hub]`` is not installed, and only Hugging Face is asked.
    InvalidParameter
        The endpoint is no address.
    """
    shelf = Shelf(cache.expanduser().absolute(), reference)
    hubs: Sequence[HubName] = ("huggingface", "modelscope") if reference.source == "auto" else (reference.source,)
    if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return _recall(shelf, hubs) or _not_here(shelf)
    if re.fullmatch("[0-9a-f]{40}", reference.revision or "") and (known := _recall(shelf, hubs)) is not None:
        return known
    problems: list[ModelError] = []
    for name in hubs:
        mirror = endpoint if name == hubs[0] else None
        try:
            return _pull(name, shelf, mirror, token_to_mirror, progress, patience or RetryPolicy())
        except CacheUnwritable:
            raise  # the other hub's file would have no room either
        except ModelError as problem:
            _log.info("%s not from %s: %s", reference, name, problem)
            problems.append(problem)
    if all(isinstance(problem, HubUnreachable | DependencyUnavailable) for problem in problems):
        known = _recall(shelf, hubs)
        if known is not None:
            _log.warning("%s; the model in use is the one that was pulled before", _together(problems))
            return known
    raise _together(problems)


def _pull(
    name: HubName, shelf: Shelf, endpoint: str | None, token_to_mirror: bool, progress: bool, patience: RetryPolicy
) -> Path:
    reference = shelf.reference
    hub, may_send_token = _hub(name, endpoint, token_to_mirror, patience)
    listing = hub.listing(reference.repository, reference.revision)
    file = find_checkpoint(listing.files, reference.checkpoint)
    if file is None:
        there = ", ".join(checkpoints(listing.files)) or "none"
        raise ModelFileNotFound(
            f"{reference}: {hub.endpoint} has no such checkpoint in {reference.repository}; its checkpoints: {there}"
        )
    promised = promise(file.path, file.size, file.sha256)
    if not shelf.has(promised):
        with shelf.alone(promised):
            if not shelf.has(promised):  # another process may have brought it meanwhile
                try:
                    download = hub.download(reference.repository, listing.revision, file)
                    fetch(download, promised, shelf.place(promised), progress=progress, patience=patience)
                except Denied as denied:
                    at = f"{reference.repository}/{file.path} at {hub.endpoint}"
                    raise refusal(denied, at, _HUBS[name].TOKEN_VARIABLE, may_send_token) from denied
    shelf.remember(name, promised)
    return shelf.place(promised)


def _hub(name: HubName, endpoint: str | None, token_to_mirror: bool, patience: RetryPolicy) -> tuple[Hub, bool]:
    module = _HUBS[name]
    address = (endpoint or os.environ.get(module.ENDPOINT_VARIABLE) or module.OFFICIAL[0]).rstrip("/")
    if not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", address):
        raise InvalidParameter("endpoint", f"must be http(s)://host, without a name or password, not {address!r}")
    may_send_token = token_to_mirror or address in module.OFFICIAL
    return (HuggingFace if name == "huggingface" else ModelScope)(address, may_send_token, patience), may_send_token


def _recall(shelf: Shelf, hubs: Sequence[HubName]) -> Path | None:
    return next((path for name in hubs if (path := shelf.recall(name)) is not None), None)


def _not_here(shelf: Shelf) -> Path:
    raise HubUnreachable(
        f"{shelf.reference} is not in {shelf.cache}, and no hub may be asked (offline): pull it once with a network, "
        "or copy the cache of a machine that has it"
    )


def _together(problems: Sequence[ModelError]) -> ModelError:
    """One error for all hubs, of a kind that a hub which answered gave, if one did."""
    answered = [error for error in problems if not isinstance(error, HubUnreachable | DependencyUnavailable)]
    kind = type((answered or problems)[0])
    return problems[0] if len(problems) == 1 else kind("; and ".join(str(error) for error in problems))
