"""Small recordings of each container, computed here, with every kind of part that changes can work on."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np

from fuzz.containers import Container
from fuzz.containers.asf import ASF
from fuzz.containers.flac import FLAC
from fuzz.containers.matroska import MATROSKA
from fuzz.containers.mp4 import MP4
from fuzz.containers.ogg import COMMENTS, OGG
from fuzz.containers.packets import PACKETS
from fuzz.containers.riff import AIFF, RIFF
from fuzz.containers.tagged import TAGGED
from fuzz.part import Part
from fuzz.pictures import png
from support.encoding import dsf, noise, silent_ape, stored, with_soundfile

SECONDS = 0.08
PICTURE = png(16, 16)


def sound(form: str, subtype: str | None = None, rate: int = 8000, channels: int = 1) -> bytes:
    return with_soundfile(form, subtype, noise(SECONDS, rate, channels), rate)


def encode(
    form: str,
    codec: str,
    rate: int = 48_000,
    *,
    picture: str = "",
    bit_rate: int = 0,
    silent_seconds: float = 0.0,
    **options: str,
) -> bytes:
    """Noise or silence, by FFmpeg; beside it a track with a picture of 16 x 16."""
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=options) as media:
        media.metadata["title"] = "seed"
        stream = media.add_stream(codec, rate=rate, layout="stereo", options={"strict": "-2"})
        if bit_rate:
            stream.bit_rate = bit_rate
        video = media.add_stream(picture, rate=10) if picture else None
        if video:
            video.width = video.height = 16
            video.pix_fmt = "rgb24" if picture == "png" else "yuvj420p"
        samples = noise(SECONDS, rate, 2)
        if silent_seconds:
            samples = np.zeros((int(silent_seconds * rate), 2), np.float32)
        samples = np.ascontiguousarray(samples).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="stereo")
        frame.sample_rate, frame.pts = rate, 0
        fit = av.AudioResampler(stream.format.name, "stereo", rate, stream.frame_size or 1024)
        for piece in [*fit.resample(frame), *fit.resample(None)]:
            media.mux(stream.encode(piece))
        media.mux(stream.encode(None))
        if video and picture == "png":
            packet = av.Packet(PICTURE)
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = video, 0, 0, True
            packet.time_base = Fraction(1, 10)
            media.mux(packet)
        elif video:
            image = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            media.mux(video.encode(image.reformat(format=video.pix_fmt)))
            media.mux(video.encode(None))
    return file.getvalue()


def find(parts: list[Part], kind: bytes) -> Part:
    """The first part of a kind."""
    return next(part for _, part in Part(b"", parts=parts).walk() if part.kind == kind)


def changed(container: Container, content: bytes, change: Callable[[list[Part]], None]) -> bytes:
    """A recording with further parts."""
    parts = container.read(content)
    change(parts)
    return container.write(parts)


def _mp4_tags(parts: list[Part]) -> None:
    names = [Part(b"mean", bytes(4) + b"com.example"), Part(b"name", bytes(4) + b"tag0000000")]
    entry = Part(b"----", parts=[*names, Part(b"data", struct.pack(">II", 1, 0) + b"x")])
    cover = Part(b"covr", parts=[Part(b"data", struct.pack(">II", 14, 0) + PICTURE)])
    find(parts, b"ilst").parts += [entry, cover]
    find(parts, b"udta").parts.append(Part(b"chpl", struct.pack(">IIBQB", 1 << 24, 0, 1, 0, 1) + b"a"))


def _mp4_edits(parts: list[Part]) -> None:
    edits = struct.pack(">IIIiIIiI", 0, 2, 1500, 0, 1 << 16, 1500, 0, 1 << 16)
    track = find(parts, b"trak")
    track.parts = [part for part in track.parts if part.kind != b"edts"]
    track.parts.insert(1, Part(b"edts", parts=[Part(b"elst", edits)]))


def element(identity: str, *content: Part | bytes) -> Part:
    """An element of Matroska, with content or inner elements."""
    body = b"".join(piece for piece in content if isinstance(piece, bytes))
    return Part(bytes.fromhex(identity), body, [piece for piece in content if isinstance(piece, Part)])


def _matroska_lists(parts: list[Part]) -> None:
    segment = find(parts, bytes.fromhex("18538067"))
    tag = element("67c8", element("45a3", b"tag0000000"), element("4487", b"x"))
    chapter = element("b6", element("73c4", b"0000000\1"), element("91", bytes(4)))
    file = element("61a7", element("466e", b"a"), element("4660", b"image/png"), element("46ae", b"\1"))
    file.parts.append(element("465c", PICTURE))
    small = element("61a7", element("466e", b"a"), element("4660", b"font/ttf"), element("46ae", b"\2"))
    small.parts.append(element("465c", b"x"))
    segment.parts[1:1] = [
        element("1254c367", element("7373", element("63c0", b"\x68\xca\x81\x32"), tag)),
        element("1043a770", element("45b9", chapter)),
        element("1941a469", file, small),
    ]


def _matroska_encoding(parts: list[Part]) -> None:
    pack = element("5034", element("4254", b"\0"))
    find(parts, b"\xae").parts.append(element("6d80", element("6240", element("5031", b"\0"), pack)))


def _silent_opus(parts: list[Part]) -> None:
    """Packets of two bytes for 120 ms of silence."""
    for page in parts[2:]:
        page.parts = [Part(b"packet", b"\xfb\x06")]


def _ogg_comments(parts: list[Part]) -> None:
    part = next(part for _, part in Part(b"", parts=parts).walk() if part.kind in COMMENTS)
    part.parts.insert(0, Part(b"comment", b"tag0000000=x"))
    part.parts.insert(0, Part(b"comment", b"METADATA_BLOCK_PICTURE=AAAAAwAAAAlpbWFnZS9wbmc"))


def _riff_lists(parts: list[Part]) -> None:
    (whole,) = parts
    whole.parts[1:1] = [
        Part(b"LIST", b"INFO", [Part(b"INAM", b"seed")]),
        Part(b"JUNK", bytes(4)),
        Part(b"id3 ", b"ID3\4\0\0\0\0\0\x11TXXX\0\0\0\7\0\0\0t\0x" + bytes(4)),
        Part(b"cue ", struct.pack("<IIIIIII", 1, 1, 0, 0x61746164, 0, 0, 0)),
    ]


def _aiff_lists(parts: list[Part]) -> None:
    (whole,) = parts
    whole.parts[1:1] = [
        Part(b"MARK", struct.pack(">HHIBx", 1, 1, 0, 0)),
        Part(b"ANNO", b"seed"),
        Part(b"APPL", b"stoc"),
    ]


def _flac_blocks(parts: list[Part]) -> None:
    about = struct.pack(">II9sIIIIII", 3, 9, b"image/png", 0, 16, 16, 24, 0, len(PICTURE))
    parts[1:1] = [Part(b"\6", about + PICTURE), Part(b"\3", bytes(18) + b"\xff" * 18), Part(b"\2", b"seed" + bytes(8))]


def _tag(*frames: tuple[bytes, bytes]) -> Part:
    return Part(b"ID3", b"\4\0\0", [Part(kind, bytes(2) + content) for kind, content in frames])


def _tags(parts: list[Part]) -> None:
    picture = (b"APIC", b"\0image/png\0\3\0" + PICTURE)
    chapter = (b"CHAP", b"a\0" + struct.pack(">IIII", 0, 1, 0, 1))
    texts = [
        (b"TXXX", b"\0tag0000000\0x"),
        (b"TIT2", b"\3seed"),
        (b"COMM", b"\0engtag0000000\0x"),
        (b"PRIV", b"tag0000000\0x"),
    ]
    parts.insert(0, _tag(*texts, picture, chapter))


def _pcm_subtypes(form: str, *subtypes: str) -> dict[str, Callable[[], bytes]]:
    return {f"{form}-{subtype}": lambda subtype=subtype: sound(form, subtype) for subtype in subtypes}


def _silence() -> bytes:
    return with_soundfile("FLAC", "PCM_16", np.zeros((9000, 8), np.float32), 192_000)


SEEDS: dict[Container, dict[str, Callable[[], bytes]]] = {
    MP4: {
        "aac": lambda: encode("ipod", "aac"),
        "tags": lambda: changed(MP4, encode("ipod", "alac", 8000, use_editlist="0"), _mp4_tags),
        "edits": lambda: changed(MP4, encode("ipod", "aac", silent_seconds=1.5), _mp4_edits),
        "pcm": lambda: encode("mov", "pcm_s16le", 8000),
        "fragments": lambda: encode("mp4", "aac", movflags="frag_every_frame+empty_moov+default_base_moof"),
        "opus": lambda: encode("mp4", "libopus", use_editlist="0"),
        "picture": lambda: encode("mov", "aac", picture="png"),
    },
    MATROSKA: {
        "opus": lambda: encode("webm", "libopus"),
        "vorbis": lambda: encode("webm", "vorbis"),
        "lists": lambda: changed(MATROSKA, encode("matroska", "libopus"), _matroska_lists),
        "encoding": lambda: changed(MATROSKA, encode("matroska", "flac", 8000), _matroska_encoding),
        "wavpack": lambda: encode("matroska", "wavpack", 8000),
        "picture": lambda: encode("matroska", "pcm_s16le", 8000, picture="mjpeg"),
    },
    OGG: {
        "vorbis": lambda: changed(OGG, sound("OGG", "VORBIS"), _ogg_comments),
        "opus": lambda: changed(OGG, sound("OGG", "OPUS", 48_000), _ogg_comments),
        "silence": lambda: changed(OGG, sound("OGG", "OPUS", 48_000, 2), _silent_opus),
        "flac": lambda: changed(OGG, encode("ogg", "flac", 8000), _ogg_comments),
    },
    RIFF: {
        **_pcm_subtypes("WAV", "PCM_16", "FLOAT", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "NMS_ADPCM_32"),
        "mp3": lambda: encode("wav", "libmp3lame", 44_100),
        "rf64": lambda: sound("RF64", "PCM_16"),
        "extensible": lambda: sound("WAVEX", "PCM_24", 4000, 6),
        "lists": lambda: changed(RIFF, sound("WAV", "PCM_16"), _riff_lists),
        "avi": lambda: encode("avi", "ac3"),
        "avi-picture": lambda: encode("avi", "libmp3lame", picture="mjpeg"),
    },
    AIFF: {
        **_pcm_subtypes("AIFF", "PCM_16", "FLOAT", "IMA_ADPCM", "GSM610", "ULAW"),
        "lists": lambda: changed(AIFF, sound("AIFF", "PCM_16"), _aiff_lists),
    },
    FLAC: {
        "mono": lambda: sound("FLAC", "PCM_16"),
        "blocks": lambda: changed(FLAC, sound("FLAC", "PCM_24", 8000, 2), _flac_blocks),
        "cut": lambda: changed(FLAC, with_soundfile("FLAC", "PCM_16", noise(1.2, 8000), 8000), _flac_blocks)[:-300],
        "silence": _silence,
    },
    TAGGED: {
        "mp3": lambda: sound("MP3"),
        "mp3-tags": lambda: changed(TAGGED, sound("MP3", None, 44_100, 2), _tags),
        "aac-tags": lambda: changed(TAGGED, encode("adts", "aac"), _tags),
        "flac-tags": lambda: changed(TAGGED, sound("FLAC", "PCM_16"), _tags),
    },
    ASF: {
        "wmav1": lambda: encode("asf", "wmav1", bit_rate=64_000),
        "wmav2": lambda: encode("asf", "wmav2", bit_rate=64_000),
        "picture": lambda: encode("asf", "ac3", picture="mjpeg"),
    },
    PACKETS: {
        "transport": lambda: encode("mpegts", "aac"),
        "programme": lambda: encode("mpeg", "mp2"),
        "flv": lambda: encode("flv", "aac"),
        "ac3": lambda: encode("ac3", "ac3"),
        "eac3": lambda: encode("eac3", "eac3"),
        "spdif": lambda: encode("spdif", "ac3"),
        "latm": lambda: encode("latm", "aac"),
        "wavpack": lambda: encode("wv", "wavpack", 8000),
        "tta": lambda: encode("tta", "tta", 8000),
        "dsf": lambda: dsf(noise(SECONDS, 4000)[:, 0], 4000),
        "dts": lambda: stored("tone.dts"),
        "musepack": lambda: stored("tone.mpc"),
        "ape": lambda: silent_ape(8000),
        "w64": lambda: sound("W64", "PCM_16"),
        "caf": lambda: sound("CAF", "ALAC_16"),
        "au": lambda: sound("AU", "PCM_16"),
    },
}
"""By container and name: makes the recording."""
