"""Vorbis comments, APEv2, the list of MP4 or of ASF: names with texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ccmusic.tagging.id3_tag import id3v1_of
from ccmusic.tagging.mutagen_library import require_mutagen
from ccmusic.tagging.one_tag import OWN, Raw

MP4_FREE = "----:com.apple.iTunes:"


class NamedTag:
    """Such a tag; see `ccmusic.tagging.one_tag.Tag`."""

    def __init__(self, file: Any, path: Path, key: str, *, had: bool = True) -> None:
        self._mutagen = require_mutagen()
        self._file, self._path, self._key, self._had = file, path, key, had
        self._tags = getattr(file, "tags", file)
        self._free = MP4_FREE if key == "\xa9gen" else ""

    def _items(self) -> list[tuple[str, Any]]:
        """Every name with its value; Vorbis comments and ASF repeat a name."""
        return list(list.__iter__(self._tags)) if isinstance(self._tags, list) else list(self._tags.items())

    def _is_genre(self, key: str) -> bool:
        return key.lower() == self._key.lower()

    def _is_own(self, key: str) -> bool:
        return key.startswith(self._free + OWN)

    def _texts(self, value: Any) -> list[str]:
        if isinstance(value, str):
            return [value]
        if isinstance(value, self._mutagen.asf.ASFUnicodeAttribute):
            return [value.value]
        return [text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text) for text in value]

    def genres(self) -> list[str]:
        return [text for key, value in self._items() if self._is_genre(key) for text in self._texts(value)]

    def own(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in self._items():
            if self._is_own(key):
                name = key.removeprefix(self._free)
                found[name] = "\0".join([*([found[name]] if name in found else []), *self._texts(value)])
        return found

    def raw(self) -> Raw:
        kept = [[key, self._texts(value)] for key, value in self._items() if self._is_genre(key) or self._is_own(key)]
        return {"had": self._had, "fields": kept}

    def others(self) -> Iterable[object]:
        rest = [(key, repr(value)) for key, value in self._items() if not (self._is_genre(key) or self._is_own(key))]
        yield from rest if isinstance(self._tags, list) else sorted(rest)
        for block in getattr(self._file, "metadata_blocks", ()):  # of FLAC
            if block.code not in (self._mutagen.flac.VCFLACDict.code, self._mutagen.flac.Padding.code):
                yield block.code, block.write()

    def change(self, genres: Sequence[str] | None, own: Mapping[str, str] | None) -> None:
        kept = [
            (key, self._texts(value))
            for key, value in self._items()
            if (genres is None and self._is_genre(key)) or (own is None and self._is_own(key))
        ]
        new = [] if genres is None else [(self._key, list(genres))]
        self._replace([*kept, *new, *((self._free + name, [text]) for name, text in (own or {}).items())])
        self._save()

    def restore(self, raw: Raw) -> None:
        self._replace([(key, texts) for key, texts in raw["fields"]])
        self._save(deletes=not raw["had"])

    def _save(self, *, deletes: bool = False) -> None:
        id3v1 = id3v1_of(self._path)
        (self._file.delete if deletes else self._file.save)(self._path)
        if id3v1 and not id3v1_of(self._path):  # mutagen ends the file with the APEv2 in front of it
            with self._path.open("ab") as file:
                file.write(id3v1)

    def stored(self, genres: Sequence[str]) -> list[str]:
        return list(genres)

    def _replace(self, fields: Iterable[tuple[str, list[str]]]) -> None:
        for key in {key for key, _ in self._items() if self._is_genre(key) or self._is_own(key)}:
            del self._tags[key]
        for key, texts in fields:
            if isinstance(self._tags, self._mutagen.asf.ASFTags):
                self._tags.extend((key, self._mutagen.asf.ASFUnicodeAttribute(text)) for text in texts)
            elif isinstance(self._tags, list):
                self._tags.extend((key, text) for text in texts)
            elif self._free and key.startswith(self._free):
                self._tags[key] = [self._mutagen.mp4.MP4FreeForm(text.encode()) for text in texts]
            else:
                self._tags[key] = texts
