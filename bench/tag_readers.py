"""The genres that `ccmusic tag apply` writes, as other programs read them, in every container.

    python bench/tag_readers.py [--all] [--write FILE]

Each song is computed, and the real commands tag and restore it. The programs are ffmpeg with ffprobe, ExifTool,
MediaInfo, Kid3, and TagLib with pyprinttags; a missing one is a column "not installed". The exit code is 1 if no
program but mutagen reads both genres, if a program that reads such tags does not read the first genre, if the sound
differs, or if `undo` leaves other fields.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import mutagen
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from ccmusic.audio.payload_hash import payload_hash
from ccmusic.tagging.fields import read_fields
from support.tagged import GENRES, SONGS, TITLE, make_plan, make_song

ROOT = Path(__file__).parents[1]
USUAL = (".mp3", ".flac", ".ogg", ".opus", ".m4a", ".wav", ".aiff")
"""Containers of the table without `--all`."""
SEPARATORS = re.compile(r"\s*(?:[;/|\n\0])\s*")


class Found(NamedTuple):
    """What a program finds in a file.

    Parameters
    ----------
    genres : list of str
        Its texts as they are.
    has_title : bool
        Whether it finds the title: if not, it does not read this kind of tag.
    """

    genres: list[str]
    has_title: bool


def said(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout.decode("utf-8", "replace")


def by_ffprobe(song: Path) -> Found:
    entries = "format_tags:stream_tags"
    about = json.loads(said("ffprobe", "-v", "quiet", "-show_entries", entries, "-of", "json", song))
    tags = [about.get("format", {}), *about.get("streams", [])]
    fields = [(name.lower(), text) for each in tags for name, text in each.get("tags", {}).items()]
    return Found([text for name, text in fields if name == "genre"], any(text == TITLE for _, text in fields))


def by_exiftool(song: Path) -> Found:
    """Without ID3v1, which has one byte for a genre. A zero byte is escaped, because ExifTool would print none."""
    options = ("-a", "-s3", "-ec", "-charset", "exiftool=utf8")
    genres = said("exiftool", *options, "-Genre", "--ID3v1:all", song).splitlines()
    return Found([text.replace("\\x00", "\0") for text in genres], TITLE in said("exiftool", *options, "-Title", song))


def by_mediainfo(song: Path) -> Found:
    about = json.loads(said("mediainfo", "--Output=JSON", song))
    tracks = about["media"]["track"]
    return Found(
        [each["Genre"] for each in tracks if "Genre" in each], any(each.get("Title") == TITLE for each in tracks)
    )


def by_kid3(song: Path) -> Found:
    """It shows a field that is repeated as several, and the texts of one field with a stroke between."""
    fields = [
        re.split(r"\s{2,}", line.strip(" *"), maxsplit=1)
        for line in said("kid3-cli", "-c", "get all", song).splitlines()
    ]
    pairs = [(each[0], each[1]) for each in fields if len(each) == 2]
    return Found([text for name, text in pairs if name == "Genre"], any(text == TITLE for _, text in pairs))


def by_taglib(song: Path) -> Found:
    pairs = re.findall(r"^\s*(\S+) += (.*)$", said("pyprinttags", song), re.MULTILINE)
    return Found([text for name, text in pairs if name == "GENRE"], any(text == TITLE for _, text in pairs))


class Reader(NamedTuple):
    name: str
    read: Callable[[Path], Found]
    version: tuple[str, ...]


READERS = (
    Reader("ffprobe", by_ffprobe, ("ffprobe", "-version")),
    Reader("ExifTool", by_exiftool, ("exiftool", "-ver")),
    Reader("MediaInfo", by_mediainfo, ("mediainfo", "--Version")),
    Reader("Kid3", by_kid3, ("kid3-cli", "-h")),
    Reader("TagLib", by_taglib, ("pyprinttags", "-h")),
)


def is_installed(reader: Reader) -> bool:
    return shutil.which(reader.version[0]) is not None


def version(reader: Reader) -> str:
    match = re.search(r"\d+(\.\d+)+", said(*reader.version))
    return f"{reader.name} {match.group()}" if match else reader.name  # pyprinttags tells none


def sound(song: Path) -> tuple[str, ...]:
    """Hashes of the sound: ours, that of the packets by ffmpeg, and that of the samples that it decodes."""
    if shutil.which("ffmpeg") is None:
        return (payload_hash(song), "", "")
    streams = ("-map", "0:a", "-c", "copy", "-f", "md5", "-", "-map", "0:a", "-f", "md5", "-")
    return (payload_hash(song), *said("ffmpeg", "-v", "quiet", "-i", song, *streams).split())


def tag(*words: str | Path) -> None:
    """Run `ccmusic tag`."""
    command = "import sys; from ccmusic.cli import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", command, "tag", *words], check=True, stdout=subprocess.DEVNULL)


def seen(found: Found) -> set[str]:
    return {genre for text in found.genres for genre in SEPARATORS.split(text)}


def cell(found: Found) -> str:
    """The texts as the program gave them; a zero byte is shown as `\\0`."""
    texts = ", ".join(f"`{text}`" for text in dict.fromkeys(found.genres)).replace("\0", "\\0").replace("\n", "\\n")
    return texts.replace("|", "\\|") or ("none" if found.has_title else "none, and no title")


def faults(song: Path, had_title: bool, found: dict[str, Found], known: set[tuple[str, str]]) -> list[str]:
    """What must not be; `known` has the programs that read a title in another song with this suffix."""
    wrong = [
        f"{song.name}: {reader} does not read {GENRES[0]}, and reads such tags"
        for reader, each in found.items()
        if GENRES[0] not in seen(each) and (each.has_title if had_title else (reader, song.suffix) in known)
    ]
    if found and not any(set(GENRES) <= seen(each) for each in found.values()):
        wrong.append(f"{song.name}: no program but mutagen reads both genres")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="also the containers that few have")
    parser.add_argument("--write", type=Path, metavar="FILE", help="append the table to this file")
    options = parser.parse_args()
    readers = [reader for reader in READERS if is_installed(reader)]
    broken: list[str] = []
    rows: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        (folder := Path(place) / "music").mkdir()
        songs = [make_song(name, folder) for name, (_, suffix, _) in SONGS.items() if options.all or suffix in USUAL]
        plan = make_plan(Path(place) / "plan.jsonl", *songs)
        before = {song: (song.read_bytes(), read_fields(song), sound(song)) for song in songs}
        tag("apply", plan)
        tag("verify", plan)
        tagged: dict[Path, tuple[list[str], dict[str, Found], tuple[str, ...]]] = {}
        for song in tqdm(songs, disable=None):
            found = {reader.name: reader.read(song) for reader in readers}
            tagged[song] = (list(read_fields(song).genres), found, sound(song))
        tag("undo", plan)
        known = {
            (reader, song.suffix)
            for song, (_, found, _) in tagged.items()
            for reader, each in found.items()
            if each.has_title
        }
        for song in songs:
            content, fields, old = before[song]
            genres, found, new = tagged[song]
            had_title = TITLE.encode() in content or TITLE.encode("utf-16-le") in content
            broken += faults(song, had_title, found, known)
            same = [
                what
                for what, one, two in zip(("hash", "packets", "samples"), old, new, strict=True)
                if one and one == two
            ]
            if "hash" not in same or (old[2] and "samples" not in same):
                broken.append(f"{song.name}: other sound")
            if read_fields(song) != fields or sound(song) != old:
                broken.append(f"{song.name}: not restored")
            restored = song.read_bytes()
            undone = "same bytes" if restored == content else f"same fields, {len(restored) - len(content):+} bytes"
            cells = [cell(found[each.name]) if each in readers else "not installed" for each in READERS]
            texts = ", ".join(f"`{genre}`" for genre in genres)
            rows.append(f"| {song.name} | {texts} | {' | '.join(cells)} | {', '.join(same)} | {undone} |")
    commit = said("git", "-C", ROOT, "rev-parse", "--short", "HEAD").strip()
    versions = ", ".join([f"mutagen {mutagen.version_string}", *map(version, readers)])
    lines = [
        f"`bench/tag_readers.py{' --all' * options.all}` on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, "
        f"commit {commit}: {len(songs)} songs with {' and '.join(GENRES)}, {versions}. Faults: {len(broken)}.",
        "",
        f"| song | mutagen | {' | '.join(reader.name for reader in READERS)} | same sound | after `undo` |",
        f"|---|---|{'---|' * len(READERS)}---|---|",
        *rows,
        "",
        *broken,
    ]
    print("\n".join(lines))
    if options.write is not None:
        with options.write.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
