"""The only module that imports mutagen: it is GPL, and an extra (docs/licences.md)."""

from __future__ import annotations

from typing import Any

from ccmusic.errors import DependencyUnavailable


def require_mutagen() -> Any:
    """The package mutagen with all of its modules that are used here.

    Raises
    ------
    DependencyUnavailable
    """
    try:
        import mutagen  # imported late: of the extra tags only
        from mutagen import aiff, apev2, asf, dsf, flac, id3, mp4, oggflac, oggopus, oggspeex, oggvorbis, wave
    except ImportError as error:
        raise DependencyUnavailable(
            f"tags need the package mutagen, which cannot be imported ({error}): "
            "install the extra with pip install 'ccmusic[tags]'"
        ) from error
    del aiff, apev2, asf, dsf, flac, id3, mp4, oggflac, oggopus, oggspeex, oggvorbis, wave
    return mutagen
