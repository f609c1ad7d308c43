"""Songs in each container that can have tags, with a title, a cover and an unknown frame, and plans for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import mutagen
import mutagen.apev2
import mutagen.asf
import mutagen.flac
import mutagen.id3
import mutagen.mp4

from ccmusic.audio.payload_hash import payload_hash
from ccmusic.tagging.fields import read_fields
from support.encoding import ENCODED, silent_ape, stored, tone, with_ffmpeg, with_soundfile

COVER = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
TITLE = "Ein Lied / 一首歌"
STRANGE = b"XYZW\0\0\0\x05\0\0abcde"
"""A frame of ID3 that no program knows."""
GENRES = ["Soul", "R&B"]


@cache
def _sound(name: str) -> bytes:
    if name == "mp3":
        return with_soundfile("MP3", None, tone())
    if name == "musepack":
        return stored("tone.mpc")
    if name == "ape":
        return silent_ape(44_100)
    if name == "aac-adts":
        return with_ffmpeg("adts", "aac", tone(), 44_100)
    return ENCODED[name][1]()


def _id3(version: int) -> Callable[[Path], None]:
    def add(path: Path) -> None:
        tags = mutagen.id3.ID3()
        tags.add(mutagen.id3.TIT2(encoding=3 if version == 4 else 1, text=[TITLE]))
        tags.add(mutagen.id3.TPE1(encoding=3 if version == 4 else 1, text=["A", "B"]))
        tags.add(mutagen.id3.APIC(encoding=0, mime="image/png", type=3, desc="", data=COVER))
        tags.unknown_frames, tags._unknown_v2_version = [STRANGE], version
        tags.save(path, v2_version=version, v23_sep=None)

    return add


def _id3v1(path: Path) -> None:
    text = b"TAG" + b"title".ljust(30, b"\0") + b"artist".ljust(30, b"\0") + bytes(30) + b"1999" + bytes(30)
    with path.open("ab") as file:
        file.write(text + bytes([255]))


def _ape(path: Path) -> None:
    tags = mutagen.apev2.APEv2()
    tags["Title"] = TITLE
    tags["Cover Art (Front)"] = mutagen.apev2.APEValue(b"cover.png\0" + COVER, mutagen.apev2.BINARY)
    tags.save(path)


def _by_mutagen(path: Path) -> None:
    file = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    if isinstance(file.tags, mutagen.id3.ID3):
        file.tags.add(mutagen.id3.TIT2(encoding=3, text=[TITLE]))
        file.tags.add(mutagen.id3.APIC(encoding=0, mime="image/png", type=3, desc="", data=COVER))
    elif isinstance(file, mutagen.mp4.MP4):
        file["\xa9nam"] = TITLE
        file["covr"] = [mutagen.mp4.MP4Cover(COVER, mutagen.mp4.MP4Cover.FORMAT_PNG)]
        file["----:com.apple.iTunes:LABEL"] = [b"a label"]
    else:
        file["Title"] = TITLE
    if isinstance(file, mutagen.flac.FLAC):
        picture = mutagen.flac.Picture()
        picture.data, picture.type, picture.mime = COVER, 3, "image/png"
        file.add_picture(picture)
    file.save()


def _in_turn(*steps: Callable[[Path], None]) -> Callable[[Path], None]:
    def add(path: Path) -> None:
        for step in steps:
            step(path)

    return add


def _nothing(path: Path) -> None:
    """No tag at all."""


# fmt: off
SONGS: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "ID3v2.3.mp3": ("mp3", ".mp3", _id3(3)),
    "ID3v2.4.mp3": ("mp3", ".mp3", _id3(4)),
    "no-tags.mp3": ("mp3", ".mp3", _nothing),
    "ID3v1.mp3": ("mp3", ".mp3", _id3v1),
    "APEv2.mp3": ("mp3", ".mp3", _ape),
    "all-tags.mp3": ("mp3", ".mp3", _in_turn(_id3(3), _ape, _id3v1)),
    "song.aac": ("aac-adts", ".aac", _id3(4)),
    "song.flac": ("flac", ".flac", _by_mutagen),
    "bare.flac": ("flac", ".flac", _nothing),
    "vorbis.ogg": ("ogg-vorbis", ".ogg", _by_mutagen),
    "song.opus": ("ogg-opus", ".opus", _by_mutagen),
    "flac.ogg": ("ogg-flac", ".ogg", _by_mutagen),
    "song.m4a": ("m4a", ".m4a", _by_mutagen),
    "bare.m4a": ("m4a", ".m4a", _nothing),
    "song.wav": ("wav-16", ".wav", _by_mutagen),
    "bare.wav": ("wav-16", ".wav", _nothing),
    "song.aiff": ("aiff", ".aiff", _by_mutagen),
    "bare.aiff": ("aiff", ".aiff", _nothing),
    "song.wv": ("wavpack", ".wv", _ape),
    "bare.wv": ("wavpack", ".wv", _nothing),
    "song.mpc": ("musepack", ".mpc", _ape),
    "song.ape": ("ape", ".ape", _ape),
    "song.wma": ("wma", ".wma", _by_mutagen),
    "song.dsf": ("dsf", ".dsf", _by_mutagen),
    "song.tta": ("tta", ".tta", _id3(4)),
}
# fmt: on
"""By name: the sound, the suffix, and what adds the tags."""


def make_song(name: str, folder: Path) -> Path:
    """The song in a file of this name."""
    sound, _, add_tags = SONGS[name]
    path = folder / name
    path.write_bytes(_sound(sound))
    add_tags(path)
    return path


def write_line(path: Path, genres: list[str] | None = None, own: dict[str, str] | None = None) -> dict[str, object]:
    """A line of a plan that writes these genres."""
    fields = read_fields(path)
    line: dict[str, object] = {"path": str(path), "action": "write", "genres_now": list(fields.genres)}
    line |= {"genres": GENRES if genres is None and own is None else genres, "own": own, "payload": payload_hash(path)}
    return {name: value for name, value in line.items() if value is not None}


def make_plan(path: Path, *songs: Path, **line: object) -> Path:
    """A plan that writes `GENRES`, or what `line` says, into these songs."""
    lines = [{"plan": 1}, *({**write_line(song, **line)} for song in songs)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path
