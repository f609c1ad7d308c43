"""Tags, covers and padding do not change the hash of the sound; one changed byte of the sound does."""

from __future__ import annotations

import base64
import os
import struct
import tracemalloc
from pathlib import Path

import mutagen
import mutagen.apev2
import mutagen.flac
import mutagen.id3
import mutagen.mp4
import pytest

from ccmusic.audio import mp4_samples, ogg_packets
from ccmusic.audio import payload_hash as module
from ccmusic.audio.payload_hash import payload_hash
from ccmusic.errors import EmptyAudio, InvalidParameter
from support.encoding import ENCODED, noise, silent_ape, stored, tone, with_ffmpeg, with_soundfile

COVER = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
PADDING = 5000
GENRES = ["Soul", "R&B"]
WRITES_ELSEWHERE = frozenset({"rf64", "bw64", "avi", "ac3", "eac3"})
"""mutagen reads them and writes no tags."""


def _id3(path: Path) -> None:
    tags = mutagen.id3.ID3()
    tags.add(mutagen.id3.TCON(encoding=3, text=GENRES))
    tags.add(mutagen.id3.APIC(encoding=3, mime="image/png", type=3, desc="", data=COVER))
    tags.save(path, v1=2, padding=lambda _: PADDING)


def _id3_of_version_3(path: Path) -> None:
    tags = mutagen.id3.ID3()
    tags.add(mutagen.id3.TCON(encoding=1, text=GENRES))
    tags.save(path, v2_version=3, v1=0)


def _ape(path: Path) -> None:
    tags = mutagen.apev2.APEv2()
    tags["Genre"] = GENRES
    tags["Cover Art (Front)"] = mutagen.apev2.APEValue(b"cover.png\0" + COVER, mutagen.apev2.BINARY)
    tags.save(path)


def _id3_and_ape(path: Path) -> None:
    _ape(path)
    _id3(path)


TAGGED = {"ID3v2.4 and ID3v1": _id3, "ID3v2.3": _id3_of_version_3, "APEv2": _ape, "APEv2 before ID3v1": _id3_and_ape}
FRAMES = {
    "mp3": lambda: with_soundfile("MP3", None, tone()),
    "adts": lambda: with_ffmpeg("adts", "aac", tone(), 44_100),
}


@pytest.mark.parametrize("tag", TAGGED)
@pytest.mark.parametrize("frames", FRAMES)
def test_tags_around_frames_do_not_change_the_hash(frames: str, tag: str, tmp_path: Path) -> None:
    path = tmp_path / "song"
    path.write_bytes(FRAMES[frames]())
    bare = payload_hash(path)
    TAGGED[tag](path)
    assert path.stat().st_size > len(FRAMES[frames]())
    assert payload_hash(path) == bare


def _add_tags(path: Path) -> type[mutagen.FileType]:
    """Adds a text, a cover and padding; returns the class of mutagen for the format."""
    file = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    if isinstance(file.tags, mutagen.id3.ID3):
        file.tags.add(mutagen.id3.TCON(encoding=3, text=GENRES))
        file.tags.add(mutagen.id3.APIC(encoding=3, mime="image/png", type=3, desc="", data=COVER))
    elif isinstance(file, mutagen.mp4.MP4):
        file["\xa9gen"] = GENRES
        file["covr"] = [mutagen.mp4.MP4Cover(COVER, mutagen.mp4.MP4Cover.FORMAT_PNG)]
    elif isinstance(file, mutagen.flac.FLAC):
        file["genre"] = GENRES
        picture = mutagen.flac.Picture()
        picture.data, picture.type, picture.mime = COVER, 3, "image/png"
        file.add_picture(picture)
    else:
        file["Genre"] = GENRES
        file["Comment"] = base64.b64encode(COVER).decode()
    try:
        file.save(path, padding=lambda _: PADDING)
    except TypeError:  # APEv2 has no padding
        file.save(path)
    return type(file)


SONGS = {
    **{name: encode for name, (_, encode) in ENCODED.items() if name not in WRITES_ELSEWHERE},
    "ape": lambda: silent_ape(44_100),
    "musepack": lambda: stored("tone.mpc"),
    "ogg-long": lambda: with_soundfile("OGG", "VORBIS", noise(20)),
}
UNKNOWN_TO_MUTAGEN = frozenset({
    "aac-adts", "webm-opus-streamed", "w64", "caf", "caf-alac", "au", "latm", "mpegts", "mpegps", "flv",
    "mkv-ac3-with-video", "mp4-segment",
})  # fmt: skip


@pytest.mark.parametrize("name", sorted(SONGS.keys() - UNKNOWN_TO_MUTAGEN))
def test_tags_covers_and_padding_do_not_change_the_hash(name: str, tmp_path: Path) -> None:
    path = tmp_path / "song"
    path.write_bytes(SONGS[name]())
    bare = payload_hash(path)
    kind = _add_tags(path)
    assert path.stat().st_size > len(SONGS[name]()) + len(COVER)
    assert payload_hash(path) == bare
    kind(path).delete()
    assert payload_hash(path) == bare


@pytest.mark.parametrize("name", sorted(ENCODED))
def test_one_changed_byte_of_the_sound_changes_the_hash(name: str) -> None:
    content = bytearray(ENCODED[name][1]())
    before = payload_hash(bytes(content))
    content[len(content) * 6 // 10] ^= 1
    assert payload_hash(bytes(content)) != before


@pytest.mark.parametrize("name", sorted(ENCODED))
def test_a_path_and_its_content_have_one_hash(name: str, tmp_path: Path) -> None:
    content = ENCODED[name][1]()
    path = tmp_path / "song"
    path.write_bytes(content)
    assert payload_hash(path) == payload_hash(content)


def test_it_does_not_depend_on_the_place_of_the_index(tmp_path: Path) -> None:
    behind = with_ffmpeg("ipod", "aac", tone(sample_rate=48_000))
    in_front = with_ffmpeg("ipod", "aac", tone(sample_rate=48_000), index_first_in=tmp_path / "song.m4a")
    assert behind.index(b"mdat") < behind.index(b"moov")
    assert in_front.index(b"moov") < in_front.index(b"mdat")
    assert payload_hash(in_front) == payload_hash(behind)


def test_the_picture_of_a_video_is_no_sound() -> None:
    content = with_ffmpeg("mp4", "aac", tone(sample_rate=48_000), video=True)
    picture = content.index(b"\0\0\x01\xb6")  # MPEG-4 part 2: a picture begins
    changed = bytearray(content)
    changed[picture + 8] ^= 1
    assert payload_hash(bytes(changed)) == payload_hash(content)


def test_packets_of_ogg_are_the_same_on_other_pages() -> None:
    content = with_soundfile("OGG", "VORBIS", noise(3))
    assert payload_hash(_on_small_pages(content)) == payload_hash(content)


def _on_small_pages(content: bytes) -> bytes:
    """Each page of Ogg with more than one value of lacing as two pages; decoders would want other checksums."""
    pages, position = [], 0
    while position < len(content):
        head, lacing = (
            content[position : position + 27],
            content[position + 27 : position + 27 + content[position + 26]],
        )
        begin = position + 27 + len(lacing)
        position = begin + sum(lacing)
        half = len(lacing) // 2
        for part, place in ((lacing[:half], begin), (lacing[half:], begin + sum(lacing[:half]))):
            if part:
                pages.append(head[:26] + bytes([len(part)]) + part + content[place : place + sum(part)])
    return b"".join(pages)


def test_the_second_of_two_joined_files_counts() -> None:
    first, second, other = (with_soundfile("WAV", "PCM_16", noise(seconds)) for seconds in (1.0, 0.5, 0.25))
    assert len({payload_hash(first), payload_hash(first + second), payload_hash(first + other)}) == 3


def test_the_second_link_of_a_chain_counts() -> None:
    first, second, other = (with_soundfile("OGG", "VORBIS", noise(seconds)) for seconds in (1.0, 0.5, 0.25))
    assert len({payload_hash(first), payload_hash(first + second), payload_hash(first + other)}) == 3


def test_the_sample_rate_counts() -> None:
    samples = noise(1.0)
    assert payload_hash(with_soundfile("WAV", "PCM_16", samples, 44_100)) != payload_hash(
        with_soundfile("WAV", "PCM_16", samples, 22_050)
    )


@pytest.mark.parametrize("content", [b"\x89PNG and more", b"plain text, no music", bytes(5000), b"ID3\4\0\0\0\0\0\0"])
def test_what_is_no_recording_has_a_hash_of_its_bytes(content: bytes) -> None:
    assert payload_hash(content) != payload_hash(b"another text")
    assert payload_hash(content + b"TAG" + bytes(125)) == payload_hash(content)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(EmptyAudio):
        payload_hash(b"")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidParameter, match="pipe"):
        payload_hash(tmp_path / "pipe")


HOSTILE = {
    "flac of a million empty blocks": b"fLaC" + b"\1\0\0\0" * 1_000_000,
    "flac whose block is longer than the file": b"fLaC\0\0\0\x22" + bytes(34) + b"\x84\xff\xff\xff" + bytes(100),
    "asf of objects without a length": bytes.fromhex("3026b2758e66cf11") + bytes(500),
    "dsf whose tag is behind the end": b"DSD " + struct.pack("<QQQ", 28, 60, 2**63) + bytes(40),
    "dsf whose tag is in its head": b"DSD " + struct.pack("<QQQ", 28, 60, 5) + bytes(40),
    "aiff without samples": b"FORM\0\0\1\0AIFF" + bytes(500),
    "mp4 without an index": struct.pack(">I4sI", 16, b"ftyp", 0)
    + bytes(4)
    + struct.pack(">I4s", 0, b"mdat")
    + bytes(99),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_in_a_hostile_file_every_byte_counts(name: str) -> None:
    content = HOSTILE[name]
    changed = content[:-1] + b"\x7f"
    assert payload_hash(content) == payload_hash(content)
    assert payload_hash(content) != payload_hash(changed)


def _forged(kind: bytes, at: int, value: int) -> bytes:
    """An M4A file with another number, so many bytes after the name of a box."""
    content = bytearray(with_ffmpeg("ipod", "aac", tone(sample_rate=48_000)))
    place = content.index(kind) + len(kind) + at
    content[place : place + 4] = struct.pack(">I", value)
    return bytes(content)


@pytest.mark.parametrize(
    ("kind", "at", "value"),
    [
        (b"stsz", 4, 2**31),  # each sample has 2 GiB
        (b"stsz", 8, 2**32 - 1),  # so many samples
        (b"stsc", 8, 5),  # the first group begins with the fifth chunk
        (b"stsc", 12, 2**32 - 1),  # samples of each chunk
        (b"stco", 4, 2**32 - 1),  # chunks
        (b"stco", 8, 2**31),  # behind the end of the file
        (b"stsd", -8, 2**31),  # its length
    ],
)
def test_samples_are_not_found_by_contradicting_tables(kind: bytes, at: int, value: int, tmp_path: Path) -> None:
    content = _forged(kind, at, value)
    begin = content.index(b"mdat") + 4
    changed = bytearray(content)
    changed[begin + 100] ^= 1
    # the boxes of sound are hashed as a whole then
    assert payload_hash(content) != payload_hash(with_ffmpeg("ipod", "aac", tone(sample_rate=48_000)))
    assert payload_hash(content) != payload_hash(bytes(changed))


def _box(kind: bytes, *content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, content)), kind) + b"".join(content)


def _numbers(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def test_a_table_that_skips_the_first_chunk_is_not_followed() -> None:
    sound = _box(b"ftyp", b"M4A \0\0\0\0") + _box(b"mdat", bytes(range(40)))
    tables = _box(
        b"stbl",
        _box(b"stsd", _numbers(0, 0)),
        _box(b"stsc", _numbers(0, 1, 2, 5, 1)),  # from the second of three chunks on, five samples in each
        _box(b"stsz", _numbers(0, 1, 10)),  # ten samples of one byte
        _box(b"stco", _numbers(0, 3, 24, 34, 44)),
    )
    handler = _box(b"hdlr", _numbers(0, 0), b"soun")
    content = sound + _box(b"moov", _box(b"trak", _box(b"mdia", handler, _box(b"minf", tables))))
    assert payload_hash(content) != payload_hash(content.replace(bytes(range(30, 40)), bytes(10)))


def test_more_pages_or_streams_than_real_files_have_are_hashed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    content = with_soundfile("OGG", "VORBIS", noise(3))
    usual = payload_hash(content)
    monkeypatch.setattr(ogg_packets, "MOST_PAGES", 3)
    assert payload_hash(content) != usual
    monkeypatch.undo()
    monkeypatch.setattr(ogg_packets, "MOST_STREAMS", 0)
    assert payload_hash(content) != usual


def test_more_samples_or_chunks_than_real_files_have_are_hashed_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    video = with_ffmpeg("mp4", "aac", tone(sample_rate=48_000), video=True)
    usual = payload_hash(video)
    for name, most in (("MOST_SAMPLES", 3), ("MOST_SPANS", 0), ("MOST_DESCRIPTION_BYTES", 8)):
        with monkeypatch.context() as patch:
            patch.setattr(mp4_samples, name, most)
            assert payload_hash(video) != usual, name


def test_memory_does_not_depend_on_the_size_of_the_file(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    content = with_soundfile("WAV", "PCM_16", noise(0.1))
    samples = 2**26
    song.write_bytes(content[:40] + struct.pack("<I", samples) + content[44:])
    os.truncate(song, 44 + samples)
    tracemalloc.start()
    payload_hash(song)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < samples / 8


def test_a_file_that_takes_long_to_search_is_hashed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    content = with_soundfile("FLAC", "PCM_16", noise(1.0))
    usual = payload_hash(content)
    monkeypatch.setattr(module, "SEARCH_SECONDS", -1.0)
    assert payload_hash(content) != usual
