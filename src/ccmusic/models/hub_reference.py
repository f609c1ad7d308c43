"""The spelling of a checkpoint on a hub, in the setting ``model`` and on the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ccmusic.errors import InvalidParameter

HubName = Literal["huggingface", "modelscope"]
Source = Literal["huggingface", "modelscope", "auto"]

DEFAULT_CHECKPOINT = "vgg19_bn_cqt"

_SCHEMES: dict[str, HubName] = {"hf": "huggingface", "modelscope": "modelscope"}
_PATH_BEGINS = ("/", "./", "../", "~", ".\\", "..\\")
_PATH_ENDS = (".pt", ".json", ".onnx")
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_BARE = re.compile(rf"(?P<repository>{_NAME}/{_NAME})(@(?P<revision>[^@]+))?")
_ADDRESS = re.compile(rf"(?P<repository>{_NAME}/{_NAME})(/(?P<checkpoint>{_NAME}))?(@(?P<revision>[^@]+))?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


@dataclass(frozen=True, slots=True)
class HubReference:
    """One checkpoint of one repository, at one revision.

    Attributes
    ----------
    repository : str
        ``owner/name``, the same on both hubs.
    checkpoint : str
        The name of its folder, with or without the ``_16cls_<date>`` of older releases.
    source : {'huggingface', 'modelscope', 'auto'}
        `auto`: Hugging Face, then ModelScope.
    revision : str or None
        Branch, tag or commit; None: the hub's main branch.

    Raises
    ------
    InvalidParameter
        A part contains characters that hubs do not allow.
    """

    repository: str
    checkpoint: str = DEFAULT_CHECKPOINT
    source: Source = "auto"
    revision: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(f"{_NAME}/{_NAME}", self.repository) or ".." in self.repository:
            raise InvalidParameter("model", f"must name its repository as owner/name, not {self.repository!r}")
        if not re.fullmatch(_NAME, self.checkpoint) or ".." in self.checkpoint:
            raise InvalidParameter("model", f"must name one folder of the repository, not {self.checkpoint!r}")
        if self.revision is not None and (not _REVISION.fullmatch(self.revision) or ".." in self.revision):
            raise InvalidParameter("model", f"must name a branch, tag or commit after @, not {self.revision!r}")

    def __str__(self) -> str:
        scheme = "".join(f"{scheme}://" for scheme, hub in _SCHEMES.items() if hub == self.source)
        revision = f"@{self.revision}" if self.revision else ""
        return f"{scheme}{self.repository}/{self.checkpoint}{revision}"


def parse_reference(text: str) -> HubReference | None:
    """Parse the name of a checkpoint on a hub; sends no request.

    ``owner/name``, ``hf://owner/name/checkpoint`` and ``modelscope://owner/name/checkpoint`` are on a hub, each with
    an optional ``@revision``. The checkpoint may be omitted.

    Parameters
    ----------
    text : str
        The setting or argument.

    Returns
    -------
    HubReference or None
        None for `embedded` and for paths: text that exists as a file or directory, begins with ``/``, ``./``, ``../``
        or ``~``, or ends in ``.pt``, ``.json`` or ``.onnx``.

    Raises
    ------
    InvalidParameter
        An address with an unknown scheme or without a repository.
    """
    scheme, has_scheme, rest = text.partition("://")
    if not has_scheme:
        if text.startswith(_PATH_BEGINS) or text.endswith(_PATH_ENDS) or Path(text).exists():
            return None
        found = _BARE.fullmatch(text)
        return HubReference(found["repository"], revision=found["revision"]) if found else None
    if scheme not in _SCHEMES:
        allowed = " or ".join(f"{name}://" for name in _SCHEMES)
        raise InvalidParameter("model", f"must begin with {allowed} when it is an address, not {scheme}://")
    found = _ADDRESS.fullmatch(rest)
    if found is None:
        raise InvalidParameter("model", f"must be {scheme}://owner/name/checkpoint[@revision], not {text!r}")
    return HubReference(
        found["repository"], found["checkpoint"] or DEFAULT_CHECKPOINT, _SCHEMES[scheme], found["revision"]
    )
