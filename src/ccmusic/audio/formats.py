"""One table of the formats of files: by which bytes each is known, and what is done with it.

A format is accepted if FFmpeg has a name for it here. To accept another one, give it that name; the codec must be in
`CODECS` of `ccmusic.audio.tracks`. All others are refused with their title and with what to do instead.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ccmusic.audio.ffmpeg import av

ACCEPTED = f"WAV, FLAC, OGG, Opus, MP3, AIFF{'' if av is None else ', M4A, AAC, WMA, WebM'} and others are accepted"
# fmt: off
AUDIO_SUFFIXES = frozenset({
    ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".asf", ".au", ".avi", ".caf", ".dsf", ".dts",
    ".ec3", ".eac3", ".flac", ".flv", ".loas", ".m2ts", ".m4a", ".m4b", ".m4s", ".m4v", ".mka", ".mkv", ".mov", ".mp2",
    ".mp3", ".mp4", ".mpc", ".mpeg", ".mpg", ".mts", ".oga", ".ogg", ".ogv", ".opus", ".snd", ".spx", ".ts", ".tta",
    ".vob", ".w64", ".wav", ".wave", ".weba", ".webm", ".wma", ".wmv", ".wv",
})
# fmt: on
"""Names that a search in a folder takes for recordings, in lower case. The decoder itself ignores names."""

HEAD_BYTES = 2048
"""So many bytes the patterns see."""

CONVERT = "convert it to FLAC or MP3, for example with FFmpeg: ffmpeg -i FILE song.flac"
SEND = "send the recording itself"
EXPORT = "it holds notes and not sound: play it in its program and export that as WAV or MP3"
UNPACK = "unpack it and send the recordings in it"
PROTECTED = "it is protected, so only the programs of its shop can play it; send a copy without protection"


class Format(NamedTuple):
    """A format of files.

    Parameters
    ----------
    name : str
        Its name in the code.
    title : str
        Its name in sentences.
    head : str
        Regular expression of its first bytes, as text in Latin-1; empty if it is found in another way.
    ffmpeg : str
        FFmpeg's name for the container, so that it tries no other one, such as playlists. Empty: not accepted.
    libsndfile : bool
        Whether libsndfile is tried first.
    guesses_length : bool
        Whether FFmpeg guesses how long the recording is, from its size and its first packets.
    advice : str
        If it is not accepted: what to do, without a full stop.
    """

    name: str
    title: str
    head: str
    ffmpeg: str = ""
    libsndfile: bool = False
    guesses_length: bool = False
    advice: str = CONVERT

    @property
    def is_accepted(self) -> bool:
        return bool(self.ffmpeg)

    @property
    def refusal(self) -> str:
        """The sentences that a sender of such a file gets."""
        return f"This is {self.title}; {self.advice}. {ACCEPTED}."


# fmt: off
SOUND = (
    Format("wav", "a WAV recording", "(RIFF|RIFX|RF64)....WAVE", "wav", True),
    Format("aiff", "an AIFF recording", "FORM....AIF[FC]", "aiff", True),
    Format("flac", "a FLAC recording", "fLaC", "flac", True),
    Format("ogg", "an Ogg recording", "OggS", "ogg", True),
    Format("mp3", "an MP3 recording", "", "mp3", True, True),
    Format("aac", "an AAC recording", "", "aac", guesses_length=True),
    Format("webm", "a WebM or Matroska recording", r"\x1a\x45\xdf\xa3", "matroska"),
    Format("heif", "a picture (HEIC or AVIF)", "....ftyp(hei|hev|mif1|msf1|avi[fs])", advice=SEND),
    Format("aax", "an audiobook of Audible", "....ftypaax|....\x57\x90\x75\x36", advice=PROTECTED),
    Format("mp4", "an MP4 recording", "....(ftyp|styp|uuid|moov|moof|sidx|mdat|wide|free|skip|pnot)", "mov"),
    Format("bw64", "a BW64 recording", "BW64....WAVE", "wav"),
    Format("w64", "a Wave64 recording", r"riff\x2e\x91\xcf\x11", "w64", True),
    Format("caf", "a CAF recording", r"caff\0[\x01\x02]", "caf", True),
    Format("au", "an AU recording", r"\.snd|dns\.", "au", True),
    Format("wma", "a WMA or ASF recording", r"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    Format("wavpack", "a WavPack recording", "wvpk", "wv"),
    Format("ape", "a recording in Monkey's Audio (APE)", "MAC[ F]", "ape"),
    Format("tta", "a True Audio recording (TTA)", "TTA[12]", "tta"),
    Format("musepack-7", "a Musepack recording", r"MP\+", "mpc"),
    Format("musepack-8", "a Musepack recording", "MPCK", "mpc8"),
    Format("ac3", "an AC-3 recording (Dolby Digital)", r"\x0b\x77...[\x00-\x57]", "ac3", guesses_length=True),
    Format("eac3", "an E-AC-3 recording (Dolby Digital Plus)", r"\x0b\x77...[\x58-\x87]", "eac3", guesses_length=True),
    Format("dts", "a DTS recording", r"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80|\x1f\xff\xe8\0|\xff\x1f\0\xe8|DTSHDHDR", "dts",
           guesses_length=True),
    Format("spdif", "a recording in IEC 61937 (S/PDIF)", r"\x72\xf8\x1f\x4e", "spdif", guesses_length=True),
    Format("dsf", "a DSD recording (DSF)", r"DSD \x1c\0\0\0", "dsf"),
    Format("dff", "a DSD recording (DFF)", "FRM8........DSD "),
    Format("amr", "an AMR recording", "#!AMR", "amr", guesses_length=True),
    Format("latm", "an AAC recording in LATM", "", "loas", guesses_length=True),
    Format("mpegts", "an MPEG transport stream", r"(G.{187}){2}G|....(G.{191}){2}G", "mpegts", guesses_length=True),
    Format("mpegps", "an MPEG programme stream", r"\0\0\x01\xba", "mpeg", guesses_length=True),
    Format("avi", "an AVI video", "RIFF....AVI ", "avi"),
    Format("flv", "a Flash video (FLV)", r"FLV\x01", "flv"),
    Format("realmedia", "a RealMedia recording", r"\.RMF|\.ra\xfd"),
    Format("optimfrog", "an OptimFROG recording", "OFR "),
    Format("shorten", "a Shorten recording", "ajkg"),
    Format("tak", "a TAK recording", "tBaK"),
    Format("atrac", "a recording in Sony's ATRAC (OMA)", r"EA3\x01|ea3\x03|RIFF....WAVEfmt .{4}\x70\x02"),
    Format("vqf", "a TwinVQ recording", "TWIN9[78]"),
    Format("voc", "a Creative Voice recording", "Creative Voice File"),
    Format("8svx", "a recording of an Amiga (8SVX)", "FORM....8SVX"),
    Format("ncm", "a song of NetEase Cloud Music (NCM)", "CTENFDAM", advice=PROTECTED),
    Format("kgm", "a song of Kugou", r"\x7c\xd5\x32\xeb\x86\x02\x7f\x4b|\x05\x28\xbc\x96\xe9\xe4\x5a\x43",
           advice=PROTECTED),
    Format("kwm", "a song of Kuwo", "yeelion-kuwo", advice=PROTECTED),
    Format("xiami", "a song of Xiami", r"ifmt....\xfe\xfe\xfe\xfe", advice=PROTECTED),
    Format("qoa", "a QOA recording", "qoaf"),
)
"""Recordings, in the order in which they are tried."""

NOT_SOUND = (
    Format("midi", "a MIDI file", "MThd|RIFF....RMID", advice=EXPORT),
    Format("tracker", "a tracker module", r"IMPM|Extended Module: |.{44}SCRM|.{1080}M\.K\.", advice=EXPORT),
    Format("chip", "music of a game console or home computer", r"[PR]SID\0|NESM\x1a|SNES-SPC700|Vgm ", advice=EXPORT),
    Format("png", "a picture (PNG)", r"\x89PNG", advice=SEND),
    Format("jpeg", "a picture (JPEG)", r"\xff\xd8\xff[\xc0-\xfe]", advice=SEND),
    Format("gif", "a picture (GIF)", "GIF8[79]a", advice=SEND),
    Format("webp", "a picture (WebP)", "RIFF....WEBP", advice=SEND),
    Format("bmp", "a picture (BMP)", r"BM....\0\0\0\0", advice=SEND),
    Format("tiff", "a picture (TIFF)", r"II\*\0|MM\0\*", advice=SEND),
    Format("icon", "a picture (icon)", r"\0\0\x01\0[\x01-\x10]\0", advice=SEND),
    Format("photoshop", "a picture (Photoshop)", r"8BPS\0", advice=SEND),
    Format("jpeg-2000", "a picture (JPEG 2000 or JPEG XL)", r"\0\0\0\x0c(jP|JX)", advice=SEND),
    Format("rtf", "a document (RTF)", r"\{\\rtf", advice=SEND),
    Format("pdf", "a PDF document", "%PDF-", advice=SEND),
    Format("office", "a document of Microsoft Office", r"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", advice=SEND),
    Format("zip", "a ZIP archive", r"PK(\x03\x04|\x05\x06|\x07\x08)", advice=UNPACK),
    Format("rar", "a RAR archive", r"Rar!\x1a\x07", advice=UNPACK),
    Format("7z", "a 7-Zip archive", r"7z\xbc\xaf\x27\x1c", advice=UNPACK),
    Format("gzip", "a gzip archive", r"\x1f\x8b\x08", advice=UNPACK),
    Format("bzip2", "a bzip2 archive", "BZh[1-9]1AY&SY", advice=UNPACK),
    Format("xz", "an xz archive", r"\xfd7zXZ\0", advice=UNPACK),
    Format("zstd", "a Zstandard archive", r"\x28\xb5\x2f\xfd", advice=UNPACK),
    Format("cabinet", "a Cabinet archive", r"MSCF\0\0\0\0", advice=UNPACK),
    Format("tar", "a tar archive", ".{257}ustar", advice=UNPACK),
    Format("torrent", "a torrent: it names a download and does not hold it", "d[0-9]+:(announce|comment|created|info)",
           advice=SEND),
    Format("apple-double", "a companion file of macOS without sound (AppleDouble)", r"\0\x05\x16[\0\x07]",
           advice="send the file whose name does not begin with ._"),
    Format("shortcut", "a shortcut of Windows", r"L\0\0\0\x01\x14\x02\0", advice="send the file that it points to"),
    Format("program", "a program", r"MZ.{58}[\x40-\xff].\0\0|\x7fELF|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba\xbe",
           advice=SEND),
    Format("session", "a project of a music program", r"FLhd|<REAPER_PROJECT|SQLite format 3\0.{52}AUDY",
           advice="export its sound as WAV or MP3 and send that"),
    Format("sqlite", "a database", r"SQLite format 3\0", advice=SEND),
)
"""Files that are no recordings."""
# fmt: on

WEB_PAGE = Format(
    "web-page", "a web page, and not a recording", "", advice="download the recording itself and send that"
)
PLAYLIST = Format("playlist", "a playlist: it names recordings and does not hold them", "", advice=SEND)
SUBTITLES = Format("lyrics", "a text file with times (lyrics, subtitles or a cue sheet)", "", advice=SEND)
POINTER = Format("pointer", "a pointer of Git LFS to a recording", "", advice="fetch it with: git lfs pull")
MARKUP = Format("markup", "a text file (XML or JSON), and not a recording", "", advice=SEND)
TEXT = Format("text", "a text file, and not a recording", "", advice=SEND)
ZEROS = "This file holds only zeros: was it downloaded completely? Get it again, or copy it from its source again."
DAMAGED = "The recording is damaged and cannot be decoded; export it again, for example as WAV or MP3."
UNKNOWN = f"The format of this file is unknown; {ACCEPTED}."

FORMATS = {each.name: each for each in (*SOUND, *NOT_SOUND, WEB_PAGE, PLAYLIST, SUBTITLES, POINTER, MARKUP, TEXT)}
"""Every format by its name."""
MP3, AAC, LATM, OGG = (FORMATS[name] for name in ("mp3", "aac", "latm", "ogg"))
_HEADS = [(re.compile(each.head.encode("latin-1"), re.DOTALL), each) for each in FORMATS.values() if each.head]


def by_head(head: bytes) -> Format | None:
    """The format whose first bytes these are, `HEAD_BYTES` of them or fewer."""
    return next((each for pattern, each in _HEADS if pattern.match(head)), None)
