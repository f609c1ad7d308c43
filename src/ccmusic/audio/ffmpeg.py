"""FFmpeg, through PyAV: an extra, because PyAV's wheel carries x264 and x265, which are GPL (docs/licences.md)."""

from __future__ import annotations

from ccmusic.errors import UnsupportedMedia

__all__ = ["av", "require_ffmpeg"]

try:
    import av
except ModuleNotFoundError:
    av = None

ABSENT = (
    "This recording cannot be read without PyAV, which is not installed; send WAV, FLAC, OGG, Opus, MP3 or AIFF, or "
    "install the extra with pip install 'ccmusic[codecs]'."
)


def require_ffmpeg() -> None:
    """Refuse a recording that only FFmpeg can read if PyAV is not installed.

    Raises
    ------
    UnsupportedMedia
    """
    if av is None:
        raise UnsupportedMedia(ABSENT)
