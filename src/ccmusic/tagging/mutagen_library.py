"""The only module that imports mutagen: it is GPL, and an extra (docs/licences.md)."""

from __future__ import annotations

from typing import Any

from ccmusic.errors import of_extra


def require_mutagen() -> Any:
    """The package mutagen with all of its modules that are used here.

    Raises
    ------
    PackageMissing
        It is not installed.
    """
    with of_extra("tags", "reading tags needs the package mutagen"):
        import mutagen  # imported late: of the extra tags only
        from mutagen import aiff, apev2, asf, dsf, flac, id3, mp4, oggflac, oggopus, oggspeex, oggvorbis, wave
    del aiff, apev2, asf, dsf, flac, id3, mp4, oggflac, oggopus, oggspeex, oggvorbis, wave
    return mutagen
