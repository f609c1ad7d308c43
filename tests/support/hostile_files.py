"""Files that are small on disk and large in memory or time, each class computed here.

`HOSTILE` has them by name. None holds more than a second of music, except those that say so: they hold it in few bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from support.encoding import noise, with_ffmpeg, with_soundfile

# MP4


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of MP4."""
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def table(kind: bytes, *numbers: int, version: int = 0, flags: int = 0) -> bytes:
    """A box that holds numbers of 32 bits behind its version and flags."""
    return box(kind, struct.pack(f">I{len(numbers)}I", version << 24 | flags, *numbers))


def track(
    *,
    sizes: tuple[int, ...] = (1, 1000),
    times: tuple[int, ...] = (1, 1000, 2),
    chunks: tuple[int, ...] = (1, 1, 1000, 1),
    edits: bytes = b"",
    codec: bytes = b"sowt",
    is_sound: bool = True,
) -> bytes:
    """A track of PCM or another codec, or of PNG pictures, with the tables stsz, stts and stsc as given."""
    if is_sound:
        entry = box(codec, bytes(6), struct.pack(">H8xHHHHI", 1, 1, 16, 0, 0, 44_100 << 16))
    else:
        entry = box(
            b"png ",
            bytes(6),
            struct.pack(">H16xHHIIIH", 1, 64, 64, 0x480000, 0x480000, 0, 1),
            bytes(32),
            struct.pack(">Hh", 24, -1),
        )
    tables = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), entry),
        table(b"stts", *times),
        table(b"stsc", *chunks),
        table(b"stsz", *sizes),
        table(b"stco", 1, MDAT_OFFSET),
    )
    references = box(b"dref", struct.pack(">II", 0, 1), table(b"url ", flags=1))
    media = box(
        b"mdia",
        table(b"mdhd", 0, 0, 44_100, 1000, 0),
        box(b"hdlr", bytes(8), b"soun" if is_sound else b"vide", bytes(13)),
        box(b"minf", table(b"smhd", 0), box(b"dinf", references), tables),
    )
    return box(b"trak", table(b"tkhd", 0, 0, 1, 0, 1000, *[0] * 15, flags=7), edits, media)


def many_samples(size: int, count: int, **options) -> bytes:
    """A track of samples of so many bytes, which FFmpeg keeps one by one, since each lasts two frames."""
    return track(sizes=(size, count), times=(1, count, 2), chunks=(1, 1, count, 1), **options)


MDAT_OFFSET = 28


def mp4(tracks: bytes = b"", in_moov: bytes = b"", behind: bytes = b"", content: bytes = bytes(4096)) -> bytes:
    """An MP4 with these tracks, or one of sound, and with further boxes in moov or behind."""
    header = table(b"mvhd", 0, 0, 1000, 1000, *[0] * 20)
    moov = box(b"moov", header, tracks or track(), in_moov)
    return box(b"ftyp", b"M4A \0\0\0\0isom") + box(b"mdat", content) + moov + behind


def mp4_picture(width: int, height: int) -> bytes:
    """Sound, and a picture that is large when it is not compressed."""
    content = png(width, height)
    picture = track(sizes=(0, 1, len(content)), times=(1, 1, 1000), chunks=(1, 1, 1, 1), is_sound=False)
    return mp4(picture + track(), content=content)


def mp4_edits(n_edits: int, n_samples: int) -> bytes:
    """Each edit plays the whole track again, in AAC frames of one byte."""
    entries = struct.pack(">IIi", 1000, 0, 1 << 16) * n_edits
    edits = box(b"edts", box(b"elst", struct.pack(">II", 0, n_edits), entries))
    return mp4(track(sizes=(1, n_samples), times=(1, n_samples, 1024), chunks=(1, 1, n_samples, 1), edits=edits))


def mp4_fragments(n_fragments: int, n_samples: int) -> bytes:
    """Fragments in descending order of time: each is inserted before all that are there."""
    runs = []
    for place in range(n_fragments):
        start = (n_fragments - place) * n_samples * 1024
        traf = box(
            b"traf",
            table(b"tfhd", 1, 1024, 1, flags=0x18),
            box(b"tfdt", struct.pack(">IQ", 1 << 24, start)),
            table(b"trun", n_samples, 0, flags=1),
        )
        runs.append(box(b"moof", table(b"mfhd", place + 1), traf))
    extends = box(b"mvex", table(b"trex", 1, 1, 1024, 1, 0))
    return mp4(track(sizes=(0, 0), times=(0,), chunks=(0,)), extends, b"".join(runs))


def mp4_tags(n_tags: int) -> bytes:
    """Tags of different names, each compared with all before it."""
    items = b"".join(
        box(
            b"----",
            box(b"mean", bytes(4), b"com.example"),
            box(b"name", bytes(4), b"tag%07d" % number),
            box(b"data", struct.pack(">II", 1, 0), b"x"),
        )
        for number in range(n_tags)
    )
    kind = box(b"hdlr", bytes(8), b"mdir", b"appl", bytes(9))
    return mp4(in_moov=box(b"udta", box(b"meta", bytes(4), kind, box(b"ilst", items))))


# Matroska


def element(identity: str, content: bytes) -> bytes:
    """An element of Matroska, with a length of eight bytes."""
    return bytes.fromhex(identity) + (1 << 56 | len(content)).to_bytes(8, "big") + content


def mkv(
    *,
    before: bytes = b"",
    tracks: bytes = b"",
    behind: bytes = b"",
    encoding: bytes = b"",
    private: bytes | None = None,
) -> bytes:
    """A Matroska file with six seconds of Opus silence; further elements before and behind the tracks."""
    head = element("1a45dfa3", element("4282", b"matroska") + element("4287", b"\4") + element("4285", b"\2"))
    if private is None:
        private = b"OpusHead\1\2" + struct.pack("<HIhB", 0, 48_000, 0, 0)
    sound = element("b5", struct.pack(">d", 48_000.0)) + element("9f", b"\2")
    track = mkv_track(1, b"\2", b"A_OPUS", element("63a2", private) + element("e1", sound) + encoding)
    clusters = b"".join(mkv_cluster(b"\xfb\x06", place * 120) for place in range(50))
    scale = element("1549a966", element("2ad7b1", (1_000_000).to_bytes(3, "big")))
    segment = scale + before + element("1654ae6b", track + tracks) + behind + clusters
    return head + element("18538067", segment)


def mkv_cluster(packet: bytes, milliseconds: int = 0) -> bytes:
    """A cluster with one packet of the first track."""
    return element("1f43b675", element("e7", struct.pack(">I", milliseconds)) + element("a3", b"\x81\0\0\x80" + packet))


def mkv_track(number: int, kind: bytes, codec: bytes, further: bytes = b"") -> bytes:
    """The description of a track."""
    names = element("d7", struct.pack(">I", number)) + element("73c5", struct.pack(">I", number))
    return element("ae", names + element("83", kind) + element("86", codec) + further)


def mkv_tags(n_tags: int) -> bytes:
    """Tags of different names, each compared with all before it."""
    tags = b"".join(
        element("67c8", element("45a3", b"tag%07d" % number) + element("4487", b"x")) for number in range(n_tags)
    )
    return mkv(before=element("1254c367", element("7373", element("63c0", b"") + tags)))


def mkv_chapters(n_chapters: int) -> bytes:
    """Chapters whose numbers descend: each is looked for among all before it."""
    atoms = b"".join(
        element("b6", element("73c4", struct.pack(">I", n_chapters - place)) + element("91", struct.pack(">I", place)))
        for place in range(n_chapters)
    )
    return mkv(before=element("1043a770", element("45b9", atoms)))


def png(width: int, height: int) -> bytes:
    """A black picture."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    pixels = b"".join([packer.compress(row) for _ in range(height)] + [packer.flush()])

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


# Ogg

_OGG_CRC = [0] * 256
for _byte in range(256):
    _value = _byte << 24
    for _ in range(8):
        _value = (_value << 1 ^ (0x04C11DB7 if _value & 0x80000000 else 0)) & 0xFFFFFFFF
    _OGG_CRC[_byte] = _value


def page(serial: int, number: int, granule: int, flags: int, packets: list[bytes], *, goes_on: bool = False) -> bytes:
    """A page of Ogg; its last packet may go on on the next page."""
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    lacing = lacing[:-1] if goes_on else lacing
    head = b"OggS\0" + struct.pack("<BqIII", flags, granule, serial, number, 0)
    return with_check(head + bytes([len(lacing)]) + lacing + b"".join(packets))


def with_check(page: bytes) -> bytes:
    """The page of Ogg with its right checksum."""
    page = page[:22] + bytes(4) + page[26:]
    check = 0
    for byte in page:
        check = (check << 8 & 0xFFFFFFFF) ^ _OGG_CRC[check >> 24 ^ byte]
    return page[:22] + struct.pack("<I", check) + page[26:]


def opus(seconds: float, declared_seconds: float, tags: bytes = b"", packet: bytes = b"\xfb\x06") -> bytes:
    """Opus silence in packets of 120 ms and two bytes; the positions on the pages end at another length."""
    pages = [page(1, 0, 0, 2, [b"OpusHead\1\2" + struct.pack("<HIhB", 0, 48_000, 0, 0)])]
    pages.append(page(1, 1, 0, 0, [b"OpusTags" + (tags or bytes(8))]))
    n_pages = max(1, round(seconds / 0.12 / 255))
    for place in range(n_pages):
        position = int(declared_seconds * 48_000 * (place + 1) / n_pages)
        pages.append(page(1, 2 + place, position, 4 * (place == n_pages - 1), [packet] * 255))
    return b"".join(pages)


def ogg_comments(n_comments: int) -> bytes:
    """FLAC in Ogg, which FFmpeg decodes, with comments of different names."""
    content = with_ffmpeg("ogg", "flac", noise(0.3, 48_000, 2))
    second = content.index(b"OggS", 4)
    end = content.index(b"OggS", second + 4)
    (serial,) = struct.unpack_from("<I", content, 14)
    packet = b"\x84" + (8 + 14 * n_comments).to_bytes(3, "big") + bytes(4) + _comments(n_comments)
    most = 255 * 255  # bytes of a page; a packet goes on to the next page if its last lacing value is 255
    parts = [packet[first : first + most] for first in range(0, len(packet), most)]
    pages = [
        page(serial, 1 + place, 0 if place == len(parts) - 1 else -1, int(place > 0), [part], goes_on=len(part) == most)
        for place, part in enumerate(parts)
    ]
    return content[:second] + b"".join(pages) + content[end:]


def _comments(n_comments: int) -> bytes:
    """A list of Vorbis comments, of 14 bytes each."""
    texts = (struct.pack("<I", 10) + b"t%07d=x" % number for number in range(n_comments))
    return struct.pack("<I", n_comments) + b"".join(texts)


# FLAC, RIFF, ID3


def silent_flac(seconds: int, sample_rate: int = 192_000, channels: int = 8, total: int | None = None) -> bytes:
    """Silence in frames of 65,535 samples and some thirty bytes; STREAMINFO may declare another total."""
    block = 65_535
    n_samples = seconds * sample_rate
    word = sample_rate << 44 | (channels - 1) << 41 | 15 << 36 | (n_samples if total is None else total)
    info = struct.pack(">HH", block, block) + bytes(6) + word.to_bytes(8, "big") + bytes(16)
    rate = {192_000: 3, 44_100: 9, 48_000: 10}[sample_rate]
    frames = []
    for place in range(-(-n_samples // block)):
        head = b"\xff\xf8" + bytes([7 << 4 | rate, (channels - 1) << 4 | 4 << 1])
        head += chr(place).encode("utf-8", "surrogatepass") + struct.pack(">H", block - 1)
        frame = head + bytes([_crc(head, 8, 0x07)]) + bytes(3 * channels)  # each channel: the constant 0
        frames.append(frame + struct.pack(">H", _crc(frame, 16, 0x8005)))
    return b"fLaC\x80\0\0\x22" + info + b"".join(frames)


def _crc(content: bytes, bits: int, polynomial: int) -> int:
    value, top, mask = 0, 1 << bits - 1, (1 << bits) - 1
    for byte in content:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
    return value


def riff(*, tag: int = 1, channels: int = 2, rate: int = 44_100, bits: int = 16, extra: bytes = b"") -> bytes:
    """A WAV file with a codec's number and further chunks."""
    align = channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)
    content = b"WAVEfmt \x10\0\0\0" + fmt + extra + b"data" + struct.pack("<I", 2**16) + bytes(range(256)) * 256
    return b"RIFF" + struct.pack("<I", len(content)) + content


def id3(frames: bytes) -> bytes:
    """A tag of ID3v2.4."""
    return b"ID3\4\0\0" + _synchsafe(len(frames)) + frames


def _synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def id3_texts(n_frames: int) -> bytes:
    """TXXX frames of different names."""
    frames = (b"\0t%07d\0x" % number for number in range(n_frames))
    return id3(b"".join(b"TXXX" + _synchsafe(len(frame)) + b"\0\0" + frame for frame in frames))


def adts() -> bytes:
    """Half a second of AAC."""
    return with_ffmpeg("adts", "aac", noise(0.5, 48_000, 2))


def mp3() -> bytes:
    """Half a second of MP3."""
    return with_soundfile("MP3", None, noise(0.5))


HOSTILE: dict[str, Callable[[], bytes]] = {
    "mp4-sample-sizes": lambda: mp4(many_samples(1, 20_000_000)),
    "mp4-sample-sizes-of-video": lambda: mp4(many_samples(1, 60_000_000, is_sound=False) + track()),
    "mp4-packets-of-one-frame": lambda: mp4(many_samples(2, 200_000), content=bytes(400_000)),
    "mp4-packets-of-no-sound": lambda: mp4(many_samples(1, 1_000_000, codec=b"mp4a"), content=bytes(1_000_000)),
    "mp4-edits": lambda: mp4_edits(10_000, 200_000),
    "mp4-edits-of-few-samples": lambda: mp4_edits(200_000, 1000),
    "mp4-fragments": lambda: mp4_fragments(5_000, 1_000),
    "mp4-tags": lambda: mp4_tags(20_000),
    "mp4-picture": lambda: mp4_picture(10_000, 10_000),
    "mkv-tracks": lambda: mkv(tracks=b"".join(mkv_track(n, b"\2", b"A_OPUS") for n in range(2, 20_000))),
    "mkv-tags": lambda: mkv_tags(50_000),
    "mkv-chapters": lambda: mkv_chapters(50_000),
    "ogg-comments": lambda: ogg_comments(50_000),
    "opus-hours-that-declare-a-second": lambda: opus(90_000, 1.0),
    "flac-hour-of-8-channels": lambda: silent_flac(3590),
    "flac-hour-that-declares-one-sample": lambda: silent_flac(3590, total=1),
    "wav-chunks": lambda: riff(extra=b"junk\0\0\0\0" * 1_000_000),
    "wav-lists": lambda: riff(extra=b"LIST\4\0\0\0INFO" * 600_000),
    "wav-g723": lambda: riff(tag=0x42),
    "mp3-texts": lambda: id3_texts(50_000) + mp3(),
    "mp3-texts-without-sound": lambda: id3_texts(50_000) + b"\xff\xfb\x90\0" + bytes(3000),
    "aac-texts": lambda: id3_texts(50_000) + adts(),
}
"""By name: makes the file."""
