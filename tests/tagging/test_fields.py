"""Genres in the tags of every container, read back by mutagen, FFmpeg and tinytag or the bytes."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import mutagen
import mutagen.apev2
import mutagen.id3
import mutagen.mp4
import pytest
import tinytag

from ccmusic.audio.payload_hash import payload_hash
from ccmusic.errors import TagError
from ccmusic.tagging.fields import as_stored, change_fields, read_fields, restore_fields
from support.encoding import tone, with_soundfile
from support.tagged import COVER, GENRES, SONGS, STRANGE, TITLE, make_song

OWN = {"CCMUSIC_GENRE": "Soul_or_RnB", "CCMUSIC_PROBABILITY": "0.91"}


@pytest.fixture(params=SONGS)
def song(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make_song(request.param, tmp_path)


def test_genres_and_own_fields_are_read_as_they_were_written(song: Path) -> None:
    before = read_fields(song)
    assert (before.genres, before.own) == ((), {})
    change_fields(song, GENRES, OWN)
    after = read_fields(song)
    assert after.genres == as_stored(song, GENRES)
    assert after.own == OWN
    assert after.others == before.others


def test_the_sound_stays(song: Path) -> None:
    before = payload_hash(song)
    change_fields(song, GENRES, OWN)
    assert payload_hash(song) == before


def test_fields_are_restored(song: Path) -> None:
    before = read_fields(song)
    change_fields(song, GENRES, OWN)
    restore_fields(song, before.raw)
    assert read_fields(song) == before


def test_an_older_genre_is_replaced_and_restored(song: Path) -> None:
    change_fields(song, ["Old Genre", "第二"], {"CCMUSIC_MODEL": "older"})
    before = read_fields(song)
    change_fields(song, GENRES, OWN)
    assert set(read_fields(song).genres) == set(as_stored(song, GENRES))
    restore_fields(song, before.raw)
    assert read_fields(song) == before


def test_nothing_is_written_where_nothing_is_given(song: Path) -> None:
    change_fields(song, ["Old Genre"], OWN)
    before = read_fields(song)
    change_fields(song, None, None)
    assert (read_fields(song).genres, read_fields(song).own) == (before.genres, before.own)
    change_fields(song, GENRES, None)
    assert read_fields(song).own == OWN


def by_ffmpeg(path: Path) -> dict[str, str]:
    with path.open("rb") as file, av.open(file) as media:
        tags = {**media.metadata, **media.streams.audio[0].metadata}
        assert next(media.decode(audio=0)).samples
    return {name.lower(): text for name, text in tags.items()}


def test_ffmpeg_reads_the_first_genre_and_the_title(song: Path) -> None:
    if song.suffix == ".tta":
        pytest.skip("FFmpeg reads no tags of TTA")
    title = by_ffmpeg(song).get("title") if song.suffix != ".ape" else None
    change_fields(song, GENRES, None)
    found = by_ffmpeg(song) if song.suffix != ".ape" else {"genre": GENRES[0]}
    assert found["genre"].split(";")[0].split("/")[0] == GENRES[0]
    assert title is None or found.get("title") == title


def test_tinytag_reads_both_genres(song: Path) -> None:
    change_fields(song, GENRES, None)
    try:
        found = tinytag.TinyTag.get(song)
    except tinytag.UnsupportedFormatError:
        pytest.skip("tinytag does not know this container")
    genres = [found.genre, *found.other.get("genre", [])]
    assert sorted(genres) == sorted(GENRES) or genres == ["/".join(GENRES)]


def test_covers_titles_and_unknown_frames_stay(song: Path) -> None:
    kept = [mark for mark in (COVER, STRANGE, TITLE.encode(), TITLE.encode("utf-16-le")) if mark in song.read_bytes()]
    change_fields(song, GENRES, OWN)
    assert all(mark in song.read_bytes() for mark in kept)


@pytest.mark.parametrize("version", [3, 4])
def test_id3_keeps_its_version(version: int, tmp_path: Path) -> None:
    song = make_song(f"ID3v2.{version}.mp3", tmp_path)
    change_fields(song, GENRES, None)
    content = song.read_bytes()
    assert content[:4] == b"ID3" + bytes([version])
    size = content[content.index(b"TCON") + 4 :][:4]
    frame = content[content.index(b"TCON") + 10 :][: struct.unpack(">I", size)[0]]
    assert frame == (b"\0Soul\0R&B\0" if version == 4 else b"\0Soul/R&B\0")
    assert content.count(b"TCON") == 1


def test_a_file_without_tags_gets_id3_of_version_4(tmp_path: Path) -> None:
    song = make_song("no-tags.mp3", tmp_path)
    before = song.read_bytes()
    raw = read_fields(song).raw
    change_fields(song, GENRES, None)
    assert song.read_bytes()[:4] == b"ID3\4"
    restore_fields(song, raw)
    assert song.read_bytes() == before


def test_other_values_of_id3_of_version_3_stay_as_they_are(tmp_path: Path) -> None:
    song = make_song("ID3v2.3.mp3", tmp_path)
    change_fields(song, GENRES, None)
    assert mutagen.id3.ID3(song, translate=False)["TPE1"].text == ["A", "B"]


def test_genres_outside_of_latin_are_written_in_every_version(song: Path) -> None:
    change_fields(song, ["灵魂乐"], None)
    assert read_fields(song).genres == ("灵魂乐",)


def test_id3v1_alone_becomes_id3v2_with_the_same_texts(tmp_path: Path) -> None:
    song = make_song("ID3v1.mp3", tmp_path)
    old_end = song.read_bytes()[-128:]
    change_fields(song, ["Soul"], None)
    assert mutagen.id3.ID3(song, load_v1=False)["TIT2"].text == ["title"]
    assert song.read_bytes()[-128:] == old_end[:127] + bytes([42])


@pytest.mark.parametrize(("genre", "byte"), [("Soul", 42), ("Nothing Standard", 255)])
def test_id3v1_does_not_contradict(genre: str, byte: int, tmp_path: Path) -> None:
    song = make_song("all-tags.mp3", tmp_path)
    content = song.read_bytes()
    song.write_bytes(content[:-1] + b"\x11")  # Rock
    before = read_fields(song)
    assert "Rock" in before.genres
    change_fields(song, [genre], None)
    assert song.read_bytes()[-128:] == content[-128:-1] + bytes([byte])
    restore_fields(song, before.raw)
    assert song.read_bytes()[-128:] == content[-128:-1] + b"\x11"


def test_both_tags_of_a_file_get_the_genre(tmp_path: Path) -> None:
    song = make_song("APEv2.mp3", tmp_path)
    change_fields(song, GENRES, None)
    assert list(mutagen.apev2.APEv2(song)["Genre"]) == GENRES
    assert mutagen.id3.ID3(song)["TCON"].text == GENRES


def test_the_number_of_a_genre_in_mp4_is_replaced(tmp_path: Path) -> None:
    song = make_song("song.m4a", tmp_path)
    change_fields(song, ["Ten bytes."], None)
    content = song.read_bytes()
    begin = content.index(b"\xa9gen") - 4
    number = struct.pack(">I4sI4sQHI4s", 26, b"gnre", 18, b"data", 0, 18, 8, b"free")
    song.write_bytes(content[:begin] + number + content[begin + 34 :])
    assert read_fields(song).genres == ("Rock",)
    change_fields(song, GENRES, None)
    assert b"gnre" not in song.read_bytes()
    assert mutagen.mp4.MP4(song)["\xa9gen"] == GENRES


def test_one_field_of_mp4_has_several_values(tmp_path: Path) -> None:
    song = make_song("song.m4a", tmp_path)
    change_fields(song, GENRES, None)
    content = song.read_bytes()
    assert content.count(b"\xa9gen") == 1
    begin = content.index(b"\xa9gen")
    size = struct.unpack(">I", content[begin - 4 : begin])[0]
    assert content[begin : begin - 4 + size].count(b"data") == 2


def test_vorbis_comments_repeat_the_field(tmp_path: Path) -> None:
    for name in ("song.flac", "vorbis.ogg", "song.opus"):
        song = make_song(name, tmp_path)
        change_fields(song, GENRES, None)
        assert song.read_bytes().count(b"GENRE=") == 2, name


def test_the_spelling_of_a_vorbis_field_is_restored(tmp_path: Path) -> None:
    song = make_song("vorbis.ogg", tmp_path)
    file = mutagen.File(song)
    file.tags.append(("Genre", "Old"))
    file.save()
    raw = read_fields(song).raw
    change_fields(song, GENRES, None)
    restore_fields(song, raw)
    assert b"Genre=Old" in song.read_bytes()


@pytest.mark.parametrize("name", ["song.wav", "song.aiff"])
def test_chunks_have_the_usual_name(name: str, tmp_path: Path) -> None:
    song = make_song(name, tmp_path)
    change_fields(song, GENRES, None)
    assert (b"id3 " if name == "song.wav" else b"ID3 ") in song.read_bytes()


def test_the_other_genre_of_a_wav_file_is_seen_and_not_contradicted(tmp_path: Path) -> None:
    song = make_song("bare.wav", tmp_path)
    info = b"INFOIART\2\0\0\0me" + b"IGNR\5\0\0\0Rock\0\0"
    content = song.read_bytes() + b"LIST" + struct.pack("<I", len(info)) + info
    song.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    assert read_fields(song).genres == ("Rock",)
    with pytest.raises(TagError, match="INFO"):
        change_fields(song, GENRES, None)
    change_fields(song, None, OWN)
    assert read_fields(song).own == OWN


def test_old_numbers_of_genres_are_names(tmp_path: Path) -> None:
    song = make_song("no-tags.mp3", tmp_path)
    tags = mutagen.id3.ID3()
    tags.add(mutagen.id3.TCON(encoding=0, text=["(17)(42)"]))
    tags.save(song, v2_version=3)
    before = read_fields(song)
    assert before.genres == ("Rock", "Soul")
    change_fields(song, ["Jazz"], None)
    restore_fields(song, before.raw)
    assert b"(17)(42)" in song.read_bytes()


def test_id3_of_version_2_is_refused(tmp_path: Path) -> None:
    song = tmp_path / "song.mp3"
    song.write_bytes(b"ID3\2\0\0\0\0\0\x0bTCO\0\0\5\0Rock" + with_soundfile("MP3", None, tone()))
    with pytest.raises(TagError, match=r"ID3v2\.2"):
        read_fields(song)


DAMAGED = {
    "song.wma": ("WM/Genre\0".encode("utf-16-le"), 18, b"\xb2\0"),  # an attribute of an unknown type: KeyError
    "APEv2.mp3": (b"APETAGEX\xd0\x07\0\0", 12, b"\xff\xff\xff\x7f"),  # before the beginning of the file: OSError
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_tags_are_refused_by_one_error(name: str, tmp_path: Path) -> None:
    song = make_song(name, tmp_path)
    change_fields(song, GENRES, None)
    mark, offset, damage = DAMAGED[name]
    content = bytearray(song.read_bytes())
    place = content.rindex(mark) + offset
    content[place : place + len(damage)] = damage
    song.write_bytes(content)
    with pytest.raises(TagError, match="cannot be read"):
        read_fields(song)


@pytest.mark.parametrize(
    "content", [b"", b"no recording at all", b"\x89PNG\r\n\x1a\n", b"\x1a\x45\xdf\xa3" + bytes(99)]
)
def test_what_cannot_have_tags_is_refused(content: bytes, tmp_path: Path) -> None:
    song = tmp_path / "song"
    song.write_bytes(content)
    with pytest.raises(TagError):
        read_fields(song)
