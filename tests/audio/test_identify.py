"""A file is known by its content: what is in front of the sound is skipped, and what is no recording is named."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from ccmusic.audio.audio_file import open_audio
from ccmusic.audio.budget import Budget
from ccmusic.audio.decode import DecodeLimits, decode
from ccmusic.audio.formats import FORMATS
from ccmusic.audio.identify import Found, identify
from ccmusic.errors import EmptyAudio, TooCostly, UnsupportedMedia
from support.encoding import assert_tone, tone, with_ffmpeg, with_soundfile

JUNK = np.random.default_rng(5).integers(0, 256, 2**16, dtype=np.uint8).tobytes()
MP3 = with_soundfile("MP3", None, tone())
ADTS = with_ffmpeg("adts", "aac", tone(sample_rate=48_000))
FLAC = with_soundfile("FLAC", "PCM_16", tone())
OGG = with_soundfile("OGG", "VORBIS", tone())
M4A = with_ffmpeg("ipod", "aac", tone(sample_rate=48_000))
SAMPLES = {
    "mp3": MP3,
    "aac": ADTS,
    "flac": FLAC,
    "ogg": OGG,
    "mp4": M4A,
    "wav": with_soundfile("WAV", None, tone()),
    "aiff": with_soundfile("AIFF", None, tone()),
}


def found(content: bytes) -> Found:
    budget = Budget(DecodeLimits())
    with budget, open_audio(content, len(content), budget) as file:
        return identify(file)


def id3(size: int, *, version: int = 3, footer: bool = False) -> bytes:
    syncsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    head = bytes([version, 0, 0x10 if footer else 0]) + syncsafe
    return b"ID3" + head + b"\1" * size + (b"3DI" + head if footer else b"")


def ape(size: int, *, header: bool = True) -> bytes:
    def end(flags: int) -> bytes:
        return b"APETAGEX" + struct.pack("<IIII", 2000, size + 32, 1, flags) + bytes(8)

    return (end(0xA0000000) if header else b"") + b"\1" * size + end(0x80000000 if header else 0)


FRONTS = {
    "nothing": b"",
    "zero": b"\0",
    "zeros": bytes(300_000),
    "junk": JUNK[:197],
    "64 KiB of junk": JUNK,
    "a tag": id3(70_000),
    "two tags and zeros": id3(70_000) + id3(100) + bytes(10),
    "a tag with a footer": id3(500, version=4, footer=True),
    "a tag with a wrong size": id3(70_000).replace(id3(70_000)[6:10], struct.pack(">I", 70_000), 1),
    "a tag that declares more than the file has": b"ID3\3\0\0\x7f\x7f\x7f\x7f" + b"\1" * 100,
    "a foreign tag": ape(2000),
    "a letter about WAVE and AIFF files": b"RIFF, WAVE, AIFF, OggS and ftyp are marks of files. " * 3,
    "the head of an answer of a web server": b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n",
    "the head of a radio station": b"ICY 200 OK\r\nicy-name: Radio\r\n\r\n",
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("front", FRONTS)
def test_what_is_in_front_is_skipped(name, front):
    content = FRONTS[front] + SAMPLES[name]
    assert found(content)[:2] == (FORMATS[name], len(FRONTS[front]))


@pytest.mark.parametrize("front", ["zeros", "junk", "a tag with a wrong size", "a foreign tag"])
@pytest.mark.parametrize("name", SAMPLES)
def test_what_follows_something_else_is_heard(name, front):
    assert_tone(decode(FRONTS[front] + SAMPLES[name]))


@pytest.mark.parametrize("content", [MP3, ADTS])
@pytest.mark.parametrize("cut", [1, 37, 200, 333])
def test_a_recording_that_begins_in_the_middle_of_a_frame(content, cut):
    assert_tone(decode(content[1000 + cut :]))


BACKS = {
    "nothing": b"",
    "a title": b"TAG" + b"t" * 125,
    "two titles": b"TAG+" + b"t" * 223 + b"TAG" + b"t" * 125,
    "a picture": ape(500_000),
    "a picture without a header": ape(500_000, header=False),
    "lyrics": b"LYRICSBEGIN" + b"la " * 40_000 + b"LYRICSEND",
    "lyrics with a size": b"LYRICSBEGIN" + b"la " * 30_000 + b"%06d" % 90_011 + b"LYRICS200",
    "a tag with a footer": id3(70_000, version=4, footer=True),
    "all of them": ape(1000) + b"LYRICSBEGINlaLYRICSEND" + b"TAG" + b"t" * 125,
}


@pytest.mark.parametrize("name", ["mp3", "aac", "flac", "ogg"])
@pytest.mark.parametrize("back", BACKS)
def test_tags_at_the_end_are_no_part_of_the_recording(name, back):
    content = SAMPLES[name] + BACKS[back]
    assert found(content)[:3] == (FORMATS[name], 0, len(SAMPLES[name]))
    assert not decode(content).truncated


@pytest.mark.parametrize("name", SAMPLES)
def test_zeros_in_place_of_the_beginning_are_reported(name):
    assert not decode(bytes(8192) + SAMPLES[name]).truncated
    assert decode(bytes(300_000) + SAMPLES[name]).truncated


def test_mp3_in_a_wav_file():
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 44_100, 2, format="MP3", bitrate_mode="CONSTANT") as sound:
        sound.write(tone())
    frames = file.getvalue()
    frames = frames[frames.index(b"\xff\xfb", 4) :]  # without the first one, which says how many follow
    frames += frames[:200]  # an encoder that was stopped
    fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 2, 44_100, 16_000, 1152, 0, 12, 1, 2, 1152, 1, 1393)
    content = b"RIFF" + struct.pack("<I", 62 + len(frames)) + b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt
    content += b"fact" + struct.pack("<II", 4, 44_100 * 2 + 1105)  # with the delay of the encoder
    content += b"data" + struct.pack("<I", len(frames)) + frames
    recording = decode(content)
    assert_tone(recording)
    assert not recording.truncated


NAMED = {
    b"\x89PNG\r\n\x1a\n" + bytes(500): r"a picture \(PNG\)",
    b"\xff\xd8\xff\xe0\0\x10JFIF" + JUNK: r"a picture \(JPEG\)",
    b"%PDF-1.7\n" + bytes(500): "a PDF document",
    b"PK\x03\x04" + bytes(500): "a ZIP archive; unpack it",
    b".RMF\0\0\0\x12" + bytes(500): "a RealMedia recording; convert it",
    b"\0\0\0\x18ftypheic" + bytes(500): r"a picture \(HEIC or AVIF\)",
    b"MThd\0\0\0\x06" + bytes(500): "a MIDI file; it holds notes",
    b"OFR \x0c\0\0\0" + bytes(500): "an OptimFROG recording; convert it",
    b"ajkg" + bytes(500): "a Shorten recording; convert it",
    b"\0\5\x16\7" + bytes(500): "a companion file of macOS",
    id3(100) + b"\x89PNG" + bytes(500): r"a picture \(PNG\)",
    bytes(1000): "only zeros: was it downloaded completely",
    b"\0": "only zeros",
    JUNK: "The format of this file is unknown; WAV, FLAC",
    b"R": "a text file",
    b"\r\n": "a text file",
    b"CTENFDAM" + JUNK: r"a song of NetEase Cloud Music \(NCM\); it is protected",
    b"\x05\x28\xbc\x96\xe9\xe4\x5a\x43" + JUNK: "a song of Kugou; it is protected",
    b"\xff\xff\0\0" * 500: "unknown",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "a pointer of Git LFS",
}


@pytest.mark.parametrize("content", NAMED, ids=lambda content: content[:12])
def test_what_is_no_recording_is_named(content):
    with pytest.raises(UnsupportedMedia, match=NAMED[content]):
        decode(content)


TEXTS = {
    "Not music, but a letter.\r\n": "a text file",
    "音乐流派，这不是录音。\n": "a text file",
    "<!DOCTYPE html><html><title>404</title></html>\n": "a web page, and not a recording; download the",
    "#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n": "a playlist",
    "[00:12.00]la la\n": "lyrics",
    '{"error": "not found"}\n': "XML or JSON",
}


ENCODINGS = ["utf-8", "utf-8-sig", "gbk", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", TEXTS, ids=TEXTS.values())
def test_texts_are_named_in_every_encoding(text, encoding):
    with pytest.raises(UnsupportedMedia, match=TEXTS[text]):
        decode((text * 40).encode(encoding))


def test_a_file_of_tags_only():
    with pytest.raises(EmptyAudio, match="tags and no sound"):
        decode(id3(1000))


def test_every_format_has_a_sentence():
    for each in FORMATS.values():
        assert each.is_accepted or each.refusal.startswith(f"This is {each.title}; ")
        assert each.title.startswith(("a ", "an ", "music "))


def test_headers_without_end_are_searched_within_the_budget(monkeypatch):
    """A header at every fourth byte, and no two at the distance that it says."""
    content = b"\1" + b"\xff\xfb\x90\0" * 2**16
    reads = []
    monkeypatch.setattr(Budget, "is_spent", property(lambda self: len(reads) >= 100 or bool(reads.append(1))))
    with pytest.raises(TooCostly):
        found(content)
    assert 100 <= len(reads) < 120
