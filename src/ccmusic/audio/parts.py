"""The parts of a recording: each is decoded as a file of its own.

A part has one sample rate and one number of channels. MP3 and AAC may change both, and files may be joined to one. What
is between the frames, such as tags in the middle, is in no part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ccmusic.audio.audio_file import AudioFile
from ccmusic.audio.formats import AAC, HEAD_BYTES, LATM, MP3, OGG, Format, by_head
from ccmusic.audio.frames import HEADER_BYTES, Header, Reader, find_stream, read_header, stream_at
from ccmusic.audio.identify import Found, identify
from ccmusic.audio.mp4_boxes import Box, boxes
from ccmusic.audio.ogg import find_links
from ccmusic.audio.riff import form_end, readable_spans
from ccmusic.audio.tags import UNREAD_BYTES, after_tag
from ccmusic.audio.vbr_header import HEAD_BYTES as VBR_BYTES
from ccmusic.audio.vbr_header import Declared, declares, read_declared

FRAMES_PER_NOTE = 1000
BOX_HEAD_BYTES = 8
MOST_JOINED = 1000
"""Files that are joined to one: more are not heard."""
DECLARED_SLACK_SECONDS = 0.5
"""A recording may be shorter by so much than it declares: that may include the delay and the padding of encoders."""
LOST_FRAMES = 2
"""More than so many frames between two others are something that could not be read: a joint may cut one in two."""


@dataclass
class Part:
    """A stretch of a recording.

    Parameters
    ----------
    format : Format
    spans : list of tuple of int
        Where its bytes begin and end in the file, in order.
    n_samples : int
        Of each channel, counted in the headers of the frames; 0 if they were not counted.
    sample_rate : int
        In Hz, of these samples.
    """

    format: Format
    spans: list[tuple[int, int]]
    n_samples: int = 0
    sample_rate: int = 0


Counted = Callable[[float], bool]
"""Takes note of the seconds that were counted so far; returns whether no more are wanted."""


def split(file: AudioFile, found: Found, counted: Counted) -> tuple[list[Part], bool]:
    """The parts of the recording that `identify` found, and whether something in it is missing or cannot be read."""
    parts, is_damaged = _split_file(file, found, counted)
    for _ in range(MOST_JOINED):
        end = joined_file_begins(file, found)
        if end is None:
            break
        parts[-1].spans[-1] = (parts[-1].spans[-1][0], end)
        found = identify(file, end)
        following, is_too = _split_file(file, found, counted)
        parts, is_damaged = parts + following, is_damaged or is_too
    return parts, is_damaged


def joined_file_begins(file: AudioFile, found: Found) -> int | None:
    """Where another recording begins behind the one that `identify` found, if that says how long it is."""
    end = _declared_end(file, found)
    return end if end != file.size and _begins_at(file, end) else None


def _declared_end(file: AudioFile, found: Found) -> int:
    """Where a file that says how long it is ends, the end of the whole file otherwise."""
    if found.format.name in ("wav", "aiff"):
        return form_end(file, found.begin)
    if found.format.name == "mp4":
        following = boxes(file, Box(b"", found.begin, file.size))
        begins = [box.begin - BOX_HEAD_BYTES for box in following if box.kind == b"ftyp"]
        return begins[1] if len(begins) > 1 else file.size  # another box may be in front of the first one
    return file.size


def _begins_at(file: AudioFile, position: int) -> bool:
    """Whether the first bytes of a recording are at this position."""
    known = by_head(file.peek(position, HEAD_BYTES))
    return known is not None and known.is_accepted


def _split_file(file: AudioFile, found: Found, counted: Counted) -> tuple[list[Part], bool]:
    if found.format in (MP3, AAC):
        walk = _FrameWalk(file, found, counted)
        if walk.parts:
            return walk.parts, walk.is_damaged or found.is_damaged
    if found.format is OGG:
        links = find_links(file, found.begin, found.end, counted)
        if links.spans:
            return [Part(OGG, [span]) for span in links.spans], links.is_damaged or found.is_damaged
    spans = readable_spans(file, found.begin) if found.format.name == "wav" else None
    return [Part(found.format, spans or [(found.begin, found.end)])], found.is_damaged


class _FrameWalk:
    """Goes from frame to frame through a recording."""

    def __init__(self, file: AudioFile, found: Found, counted: Counted) -> None:
        self._file = file
        self._reader = Reader(file, found.end)
        self._end = found.end
        self._open: _OpenPart | None = None
        self._counted = counted
        self._seconds = 0.0
        self._is_enough = False
        self.parts: list[Part] = []
        self.is_damaged = False
        position = found.begin
        while position < self._end and not self._is_enough:
            stream = stream_at(self._reader, position)
            # the headers of LATM do not say how long a frame plays
            if stream is not None and stream.format is LATM:
                stream = None
            after = self._skip(position) if stream is None else self._follow(position, stream)
            position = max(after, position + 1)
        self._close()

    def _follow(self, begin: int, stream: Header) -> int:
        """Add all frames that agree with the first one to a part; return where the last one ends."""
        declared = read_declared(self._reader.at(begin, VBR_BYTES), stream)
        if self._open is None or declared is not None or not self._open.stream.agrees(stream):
            self._close()
            self._open = _OpenPart(stream, declared, Part(stream.format, [], 0, stream.sample_rate))
        # The headers of MP3 repeat, and this loop runs forty times for each second of music.
        known: dict[bytes, tuple[int, int]] = {}
        position, n_frames, n_samples = begin, 0, 0
        while position < self._end:
            head = self._reader.at(position, VBR_BYTES)
            size = known.get(head[:4]) or _frame_size(head, stream)
            if size is None or position + size[0] > self._end:
                break
            if stream.format is MP3:
                known[head[:4]] = size
                if n_frames and declares(head, stream):
                    break  # another file was joined
            position += size[0]
            n_frames += 1
            n_samples += size[1]
            if not n_frames % FRAMES_PER_NOTE:
                self._is_enough = self._counted(self._seconds + n_samples / stream.sample_rate)
                if self._is_enough:
                    break
        self._open.n_frames += n_frames
        self._open.part.n_samples += n_samples
        self._open.part.spans.append((begin, self._end if self._is_enough else position))
        self._seconds += n_samples / stream.sample_rate
        return position

    def _skip(self, position: int) -> int:
        """Where the next frame or tag begins, as no frame begins at `position`."""
        after = after_tag(self._file, position)
        if after > position:
            return after
        following = find_stream(self._reader, position + 1, self._end)
        n_lost = (self._end if following is None else following) - position
        if self._open is not None and n_lost > (
            UNREAD_BYTES if following is None else LOST_FRAMES * self._open.stream.length_of(self._open.stream)
        ):
            self.is_damaged = True
        return self._end if following is None else following

    def _close(self) -> None:
        if self._open is None:
            return
        stream, part, declared = self._open.stream, self._open.part, self._open.declared
        if self._is_enough:
            part.n_samples = 0  # not all are counted
            self.parts.append(part)
            return
        if declared is not None:
            n_missing = declared.n_frames - (self._open.n_frames - 1)
            n_bytes = sum(end - begin for begin, end in part.spans)
            has_all_bytes = 0 < declared.n_bytes <= n_bytes + LOST_FRAMES * stream.length_of(stream)
            if n_missing * stream.n_samples > DECLARED_SLACK_SECONDS * stream.sample_rate and not has_all_bytes:
                self.is_damaged = True
            part.n_samples -= stream.n_samples
        if part.n_samples:
            self.parts.append(part)
        self._open = None


def _frame_size(head: bytes, stream: Header) -> tuple[int, int] | None:
    """The bytes and the samples of the frame with this header; None if it is none of the stream."""
    frame = read_header(head[:HEADER_BYTES])
    return (stream.length_of(frame), frame.n_samples) if frame is not None and stream.agrees(frame) else None


@dataclass
class _OpenPart:
    """A part that may still grow: its stream, what its first frame declares, if it does, and the frames counted."""

    stream: Header
    declared: Declared | None
    part: Part
    n_frames: int = 0
