"""Headers that say that the sound is encrypted."""

from __future__ import annotations

import struct

import pytest

from ccmusic.audio.audio_file import open_audio
from ccmusic.audio.budget import Budget
from ccmusic.audio.decode import DecodeLimits
from ccmusic.audio.formats import FORMATS
from ccmusic.audio.mp4_boxes import boxes
from ccmusic.audio.protection import protected_tracks
from ccmusic.errors import UnsupportedMedia
from support.hostile_files import box, table
from support.tracks import asf_header, encrypted, sound, with_tracks

CONTENT_ENCRYPTION = bytes.fromhex("fbb31122 23bdd211 b4b700a0c955fc6e")
EXTENDED_CONTENT_ENCRYPTION = bytes.fromhex("14e68a29 2226174c b935dae07ee9289c")
FILE_PROPERTIES = bytes.fromhex("a1dcab8c 47a9cf11 8ee400c00c205365")


def found_in(content: bytes, name: str = "mp4") -> frozenset[int]:
    with Budget(DecodeLimits()) as budget, open_audio(content, len(content), budget) as file:
        return protected_tracks(file, FORMATS[name])


def is_protected_asf(content: bytes) -> bool:
    try:
        return bool(found_in(content, "wma"))
    except UnsupportedMedia as error:
        assert "protected" in str(error)
        return True


@pytest.fixture(scope="module")
def plain() -> bytes:
    return with_tracks("mp4", "aac", sound(440.0), sound(880.0))


def test_no_track_of_a_plain_file_is_protected_asf(plain):
    assert found_in(plain) == frozenset()


@pytest.mark.parametrize("entry", [b"enca", b"drms", b"aavd"])
def test_protected_tracks_by_their_identity(plain, entry):
    assert found_in(encrypted(plain, 1).replace(b"enca", entry)) == {2}
    assert found_in(encrypted(encrypted(plain)).replace(b"enca", entry)) == {1, 2}


def test_any_entry_with_a_scheme_of_protection():
    entry = box(b"mp4a", bytes(28), box(b"sinf", box(b"frma", b"mp4a")))
    descriptions = box(b"stsd", struct.pack(">II", 0, 1), entry)
    media = box(b"mdia", box(b"minf", box(b"stbl", descriptions)))
    for header in (table(b"tkhd", 0, 0, 7), table(b"tkhd", 0, 0, 0, 0, 7, version=1)):
        assert found_in(box(b"free") + box(b"moov", box(b"trak", header, media))) == {7}


def test_boxes_with_sizes_of_64_bits_and_to_the_end(plain):
    protected = encrypted(plain)
    at = protected.index(b"moov") - 4
    moov = protected[at : at + int.from_bytes(protected[at : at + 4], "big")]
    long = struct.pack(">I4sQ", 1, b"moov", len(moov) + 8) + moov[8:]
    endless = struct.pack(">I4s", 0, b"moov") + moov[8:]
    assert found_in(box(b"free", bytes(9)) + long) == found_in(endless) == {1}


@pytest.mark.parametrize("content", [b"\0", bytes(64), box(b"moov"), struct.pack(">I", 5) + b"moov"])
def test_damaged_boxes_end_the_search(content):
    assert found_in(content) == frozenset()


@pytest.mark.parametrize("found", [CONTENT_ENCRYPTION, EXTENDED_CONTENT_ENCRYPTION])
def test_asf_with_an_encryption_object(found):
    assert is_protected_asf(asf_header(FILE_PROPERTIES + bytes(80), found + bytes(16)))
    assert not is_protected_asf(asf_header(FILE_PROPERTIES + found + bytes(64)))
    assert not is_protected_asf(asf_header() + found)


def test_sizes_of_zero_end_the_search():
    assert not is_protected_asf(asf_header(FILE_PROPERTIES).replace(struct.pack("<Q", 24), bytes(8)) + bytes(500_000))


def test_boxes_are_read_within_the_budget(monkeypatch):
    spent = iter([False] * 20 + [True] * 1000)
    monkeypatch.setattr(Budget, "is_spent", property(lambda self: next(spent)))
    content = box(b"moov", *[box(b"free")] * 500)
    with open_audio(content, len(content), Budget(DecodeLimits())) as file:
        assert len(list(boxes(file, next(boxes(file))))) < 20
