"""MP4 (ISO/IEC 14496-12) and QuickTime: boxes in boxes."""

from __future__ import annotations

from fuzz.containers import Container, Table
from fuzz.part import Part, write

INNER_AT = {
    **dict.fromkeys(b"moov trak mdia minf stbl edts dinf udta ilst moof traf mvex ---- wave covr".split(), 0),
    **dict.fromkeys(b"meta".split(), 4),
    **dict.fromkeys(b"stsd dref".split(), 8),
    **dict.fromkeys(b"mp4a Opus alac fLaC sowt ac-3".split(), 28),
}
"""Where the inner boxes of a box begin in its content."""
KINDS = tuple(
    b"stts ctts stss stsc stsz stz2 stco co64 stps sdtp sbgp sgpd saiz saio senc subs cslg elst sidx trun tfhd tfdt "
    b"tkhd mdhd mvhd hdlr vmhd smhd gmhd free skip wide mdat uuid esds dec3 dac3 pssh chpl keys mean name data cmov "
    b"dcom cmvd rmra rmda rdrf chap tmcd text strk wfex iloc iinf iref ipco".split()
)
TABLES = {
    b"stts": Table(8, 8, 8),
    b"ctts": Table(8, 8, 8),
    b"stss": Table(8, 4),
    b"stsc": Table(8, 12, 12),
    b"stsz": Table(12, 4, 8),
    b"stco": Table(8, 4),
    b"co64": Table(8, 8),
    b"stps": Table(8, 4),
    b"sbgp": Table(12, 8, 12),
    b"sgpd": Table(16, 2),
    b"elst": Table(8, 12),
    b"trun": Table(8, 4, 4),
    b"sidx": Table(24, 12),
    b"chpl": Table(9, 10),
}


def read(content: bytes, holder: bytes = b"") -> list[Part]:
    """The boxes; if anything else follows, none."""
    parts, at = [], 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        kind = content[at + 4 : at + 8]
        if not 8 <= size <= len(content) - at:
            return []
        inner = content[at + 8 : at + size]
        first = 0 if holder == b"ilst" else INNER_AT.get(kind)
        boxes = [] if first is None else read(inner[first:], kind)
        parts.append(Part(kind, inner[:first] if boxes else inner, boxes))
        at += size
    return parts


def _frame(part: Part, content: bytes) -> bytes:
    size = len(content) + 8 if part.declared is None else part.declared
    if size < 2**32:
        return size.to_bytes(4, "big") + part.kind + content
    return b"\0\0\0\1" + part.kind + (size % 2**64).to_bytes(8, "big") + content


MP4 = Container("mp4", read, lambda parts: write(parts, _frame), "big", KINDS, "counted", TABLES, payload=b"mdat")
