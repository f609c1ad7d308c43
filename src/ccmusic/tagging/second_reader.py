"""What a reader that did not write a file finds in it: FFmpeg, or libsndfile where FFmpeg is not installed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import soundfile

from ccmusic.audio.ffmpeg import av
from ccmusic.errors import TagError

TELLS_NO_GENRE = frozenset({"tta"})
"""Formats of which FFmpeg reads the tags only in part."""


@dataclass(frozen=True, slots=True)
class Sound:
    """How the sound of a file is read.

    Parameters
    ----------
    codec : str
    sample_rate : int
        In Hz.
    channels : int
    """

    codec: str
    sample_rate: int
    channels: int


def read_sound(path: Path) -> tuple[Sound, str | None] | None:
    """How the sound is read, and the genre in the tags, if there is one. The first frame is decoded.

    Returns
    -------
    tuple or None
        None if no reader is installed for this format.

    Raises
    ------
    TagError
        The file cannot be read.
    """
    if av is None:
        return _by_libsndfile(path)
    try:
        with path.open("rb") as file, av.open(file, metadata_errors="replace") as media:
            stream = media.streams.audio[0]
            next(media.decode(stream))
            tags = {name.lower(): text for name, text in {**media.metadata, **stream.metadata}.items()}
            return Sound(stream.codec_context.name, stream.sample_rate, stream.channels), tags.get("genre")
    except (av.FFmpegError, IndexError, ValueError, StopIteration) as error:
        raise TagError(f"FFmpeg cannot read the file: {error}") from error


def _by_libsndfile(path: Path) -> tuple[Sound, str | None] | None:
    try:
        with path.open("rb") as file, soundfile.SoundFile(file) as sound:
            sound.read(1)
            return Sound(sound.format, sound.samplerate, sound.channels), sound.genre or None
    except soundfile.LibsndfileError:
        return None
