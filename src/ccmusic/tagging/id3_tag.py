"""ID3, in front of frames or in a chunk of WAV, AIFF or DSF; with the ID3v1 at the end of the file."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ccmusic.audio.audio_file import open_audio
from ccmusic.audio.budget import Budget
from ccmusic.audio.limits import DecodeLimits
from ccmusic.audio.riff import find_chunk
from ccmusic.errors import TagError
from ccmusic.tagging.mutagen_library import require_mutagen
from ccmusic.tagging.one_tag import OWN, Raw

ID3V1_BYTES, ID3V1_GENRE, NO_GENRE = 128, 127, 255
MOST_INFO_BYTES = 2**16


class Id3Tag:
    """The ID3 of a file; see `ccmusic.tagging.one_tag.Tag`.

    A file with ID3v1 alone gets an ID3v2.4 with the same texts, because players that see the one ignore the other.
    """

    def __init__(self, path: Path, kind: Any) -> None:
        mutagen = require_mutagen()
        self._id3, self._path, self._kind = mutagen.id3, path, kind
        self._had = True
        if kind is self._id3.ID3:
            try:
                self._tags = kind(path, translate=False, load_v1=False)
            except self._id3.ID3NoHeaderError:
                self._had, self._tags = False, self._id3.ID3()
                with suppress(self._id3.ID3NoHeaderError):
                    self._tags = kind(path)
        else:
            file = kind(path, translate=False, load_v1=False)
            if file.tags is None:
                self._had = False
                file.add_tags()
            self._tags = file.tags
        self._version = self._tags.version[1] if self._had else 4
        if self._version not in (3, 4):
            raise TagError(f"ID3v2.{self._version} is too old: it can be read, and not written.")
        self._v1 = id3v1_of(path) if kind is self._id3.ID3 else b""
        self._info_genre = _info_genre(path) if kind.__name__ == "WAVE" else ""

    def genres(self) -> list[str]:
        frame = self._tags.get("TCON")
        if frame is not None:
            return list(frame.genres)
        if self._info_genre:
            return [self._info_genre]
        names = self._id3.TCON.GENRES
        return [names[self._v1[ID3V1_GENRE]]] if self._v1 and self._v1[ID3V1_GENRE] < len(names) else []

    def own(self) -> dict[str, str]:
        return {frame.desc: "\0".join(frame.text) for frame in self._own_frames()}

    def raw(self) -> Raw:
        genre = self._tags.get("TCON")
        return {
            "had": self._had,
            "genre": None if genre is None else {"encoding": int(genre.encoding), "text": list(genre.text)},
            "own": {
                frame.desc: {"encoding": int(frame.encoding), "text": list(frame.text)} for frame in self._own_frames()
            },
            "id3v1": self._v1[ID3V1_GENRE] if self._v1 else None,
        }

    def others(self) -> Iterable[object]:
        ours = {"TCON", *(frame.HashKey for frame in self._own_frames())}
        yield from sorted((key, repr(frame)) for key, frame in self._tags.items() if key not in ours)
        yield from sorted(map(bytes, self._tags.unknown_frames))
        yield self._v1[:ID3V1_GENRE]
        yield self._version

    def change(self, genres: Sequence[str] | None, own: Mapping[str, str] | None) -> None:
        if genres is not None:
            if self._info_genre:
                raise TagError(f"The chunk INFO has the genre {self._info_genre}, which cannot be replaced.")
            self._set_genre({"encoding": self._encoding(*genres), "text": self.stored(genres)})
            names = {name.lower(): place for place, name in enumerate(self._id3.TCON.GENRES)}
            self._set_v1(names.get(genres[0].lower(), NO_GENRE))
        if own is not None:
            self._set_own({name: {"encoding": self._encoding(text), "text": [text]} for name, text in own.items()})
        self._save()

    def restore(self, raw: Raw) -> None:
        if raw["id3v1"] is not None:
            self._set_v1(raw["id3v1"])
        if not raw["had"]:
            self._tags.delete(self._path, **({"delete_v1": False} if self._kind is self._id3.ID3 else {}))
            self._save_v1()
            return
        self._set_genre(raw["genre"])
        self._set_own(raw["own"])
        self._save()

    def stored(self, genres: Sequence[str]) -> list[str]:
        """Version 2.4 has several values, version 2.3 one with strokes between the names."""
        return list(genres) if self._version == 4 else ["/".join(genres)]

    def _own_frames(self) -> list[Any]:
        return [frame for frame in self._tags.getall("TXXX") if frame.desc.startswith(OWN)]

    def _set_genre(self, genre: dict[str, Any] | None) -> None:
        self._tags.setall("TCON", [] if genre is None else [self._id3.TCON(**genre)])

    def _set_own(self, own: Mapping[str, dict[str, Any]]) -> None:
        for frame in self._own_frames():
            del self._tags[frame.HashKey]
        for name, text in own.items():
            self._tags.add(self._id3.TXXX(desc=name, **text))

    def _set_v1(self, genre: int) -> None:
        if self._v1:
            self._v1 = self._v1[:ID3V1_GENRE] + bytes([genre])

    def _encoding(self, *texts: str) -> int:
        if all(text.isascii() for text in texts):
            return int(self._id3.Encoding.LATIN1)
        return int(self._id3.Encoding.UTF8 if self._version == 4 else self._id3.Encoding.UTF16)

    def _save(self) -> None:
        self._tags.save(self._path, v2_version=self._version, v23_sep=None)
        self._save_v1()

    def _save_v1(self) -> None:
        if self._v1:  # mutagen writes it from the frames, and cuts their texts
            with self._path.open("r+b") as file:
                file.seek(-ID3V1_BYTES, os.SEEK_END)
                file.write(self._v1)


def id3v1_of(path: Path) -> bytes:
    """The ID3v1 at the end of a file; empty without."""
    with path.open("rb") as file:
        file.seek(-min(ID3V1_BYTES, path.stat().st_size), os.SEEK_END)
        tail = file.read()
    return tail if tail.startswith(b"TAG") and len(tail) == ID3V1_BYTES else b""


def _info_genre(path: Path) -> str:
    """The genre in the chunk INFO of a WAV file, which mutagen does not know."""
    with open_audio(path, sys.maxsize, Budget(DecodeLimits(decode_seconds=math.inf))) as file:
        chunk = find_chunk(file, 0, b"LIST")
        content = b"" if chunk is None else file.peek(chunk.begin, min(chunk.length, MOST_INFO_BYTES))
    place = content.find(b"IGNR") if content.startswith(b"INFO") else -1
    length = int.from_bytes(content[place + 4 : place + 8], "little") if place >= 0 else 0
    return content[place + 8 : place + 8 + length].rstrip(b"\0").decode("utf-8", "replace").strip()
