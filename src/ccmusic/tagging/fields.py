"""The genre and our own fields in the tags of a file.

It changes the file that it is given, so `ccmusic.tagging.replacement` gives it a copy. Everything else in the tags
stays as it is: the version of ID3, unknown frames, covers, ID3v1.
"""

from __future__ import annotations

import errno
import hashlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccmusic.audio.audio_file import open_audio
from ccmusic.audio.budget import Budget
from ccmusic.audio.formats import HEAD_BYTES, by_head
from ccmusic.audio.identify import identify
from ccmusic.audio.limits import DecodeLimits
from ccmusic.errors import CcmusicError, InvalidParameter, TagError
from ccmusic.tagging.id3_tag import Id3Tag
from ccmusic.tagging.mutagen_library import require_mutagen
from ccmusic.tagging.named_tag import NamedTag
from ccmusic.tagging.one_tag import Raw, Tag

WITH_ID3 = frozenset({"mp3", "aac", "tta"})
WITH_APE = frozenset({"wavpack", "ape", "musepack-7", "musepack-8"})


@dataclass(frozen=True, slots=True)
class Fields:
    """What the tags of a file say.

    Parameters
    ----------
    container : str
        Name of its format.
    genres : tuple of str
        As a player shows them.
    own : dict
        Our own fields, by their names.
    raw : list of dict
        For `restore_fields`.
    others : str
        A hash of everything else in the tags.
    """

    container: str
    genres: tuple[str, ...]
    own: dict[str, str]
    raw: list[Raw]
    others: str


def read_fields(path: Path) -> Fields:
    """What the tags of a file say.

    Raises
    ------
    TagError
        The file has no place for tags, or its tags cannot be read.
    """
    with _tag_errors():
        container, tags = _open(path)
        genres = list(dict.fromkeys(name for tag in tags for name in tag.genres()))
        own = {name: value for tag in reversed(tags) for name, value in tag.own().items()}
        others = hashlib.sha256(repr([list(tag.others()) for tag in tags]).encode()).hexdigest()
        return Fields(container, tuple(genres), own, [tag.raw() for tag in tags], others)


def change_fields(path: Path, genres: Sequence[str] | None, own: Mapping[str, str] | None) -> None:
    """Write the genre and our own fields into all tags of a file; None leaves what is there.

    Raises
    ------
    TagError
    """
    with _tag_errors():
        for tag in _open(path)[1]:
            tag.change(genres, own)


def restore_fields(path: Path, raw: Sequence[Raw]) -> None:
    """Write back what `read_fields` found.

    Raises
    ------
    TagError
    """
    with _tag_errors():
        tags = _open(path)[1]
        if len(tags) != len(raw):
            raise TagError("The file has other tags than before.")
        for tag, old in zip(tags, raw, strict=True):
            tag.restore(old)


def as_stored(path: Path, genres: Sequence[str]) -> tuple[str, ...]:
    """What `read_fields` finds after these genres were written: ID3v2.3 has one text for all of them."""
    with _tag_errors():
        return tuple(dict.fromkeys(name for tag in _open(path)[1] for name in tag.stored(genres)))


def _open(path: Path) -> tuple[str, list[Tag]]:
    container = _container(path)
    mutagen = require_mutagen()
    if container in WITH_ID3:
        found = _ape(path)
        return container, [Id3Tag(path, mutagen.id3.ID3), *([] if found is None else [found])]
    if container in WITH_APE:
        tag = _ape(path) or NamedTag(mutagen.apev2.APEv2(), path, "Genre", had=False)
        return container, [tag]
    kind = {"wav": "wave.WAVE", "aiff": "aiff.AIFF", "dsf": "dsf.DSF"}.get(container)
    if kind is not None:
        module, name = kind.split(".")
        return container, [Id3Tag(path, getattr(getattr(mutagen, module), name))]
    file = mutagen.File(path, [mutagen.flac.FLAC, *_ogg_kinds(mutagen), mutagen.mp4.MP4, mutagen.asf.ASF])
    if file is None:
        raise TagError(f"Tags cannot be written into {container} files.")
    if file.tags is None:
        file.add_tags()
    return container, [NamedTag(file, path, {"MP4": "\xa9gen", "ASF": "WM/Genre"}.get(type(file).__name__, "GENRE"))]


def _ogg_kinds(mutagen: Any) -> list[Any]:
    return [mutagen.oggvorbis.OggVorbis, mutagen.oggopus.OggOpus, mutagen.oggflac.OggFLAC, mutagen.oggspeex.OggSpeex]


def _container(path: Path) -> str:
    with open_audio(path, sys.maxsize, Budget(DecodeLimits(decode_seconds=math.inf))) as file:
        known = by_head(file.peek(0, HEAD_BYTES))
        return (known or identify(file).format).name


def _ape(path: Path) -> NamedTag | None:
    mutagen = require_mutagen()
    try:
        return NamedTag(mutagen.apev2.APEv2(path), path, "Genre")
    except mutagen.apev2.APENoHeaderError:
        return None


@contextmanager
def _tag_errors() -> Iterator[None]:
    """Turn everything that mutagen raises on damaged files, such as a `KeyError`, into one error."""
    require_mutagen()
    try:
        yield
    except (TagError, InvalidParameter):
        raise
    except CcmusicError as error:
        raise TagError(str(error)) from error
    except Exception as error:
        cause = _system_error(error)
        if cause is not None:
            raise cause from error
        raise TagError(f"The tags cannot be read or written: {type(error).__name__}: {error}") from error


def _system_error(error: BaseException) -> OSError | None:
    """The error of the system behind an error of mutagen; None if it comes from what the file holds."""
    for each in (error, error.__cause__, error.__context__):
        if isinstance(each, OSError) and each.errno not in (None, errno.EINVAL):
            return each
    return None
