"""Where the samples of the sound tracks of an MP4 file are, by the tables of its index."""

from __future__ import annotations

import numpy as np

from ccmusic.audio.audio_file import AudioFile
from ccmusic.audio.mp4_boxes import Box, boxes, inside

MOST_SAMPLES = 2**22
"""Of a track, with a table of their sizes: 27 hours of AAC."""
MOST_SPANS = 2**18
"""Chunks that do not follow each other, as in a video."""
MOST_DESCRIPTION_BYTES = 2**16


def sound_spans(file: AudioFile) -> list[tuple[int, int]] | None:
    """Where the descriptions and the samples of all sound tracks begin and end, in the order of the tracks.

    Returns
    -------
    list of tuple of int, or None
        None if the index has no sound track, if its tables contradict each other or the size of the file, or if the
        file is in fragments, whose samples are not in the index.

    References
    ----------
    ISO/IEC 14496-12, 8.5 to 8.7
    """
    kinds = [box for box in boxes(file) if box.kind in (b"moov", b"moof")]
    if [box.kind for box in kinds] != [b"moov"]:
        return None
    spans: list[tuple[int, int]] = []
    for track in boxes(file, kinds[0]):
        handler = inside(file, track, b"mdia", b"hdlr") if track.kind == b"trak" else None
        if handler is None or file.peek(handler.begin + 8, 4) != b"soun":
            continue
        tables = inside(file, track, b"mdia", b"minf", b"stbl")
        found = _track_spans(file, tables) if tables is not None else None
        if found is None:
            return None
        spans += found
    return spans if 0 < sum(end - begin for begin, end in spans) <= file.size else None


def _track_spans(file: AudioFile, tables: Box) -> list[tuple[int, int]] | None:
    by_kind = {box.kind: box for box in boxes(file, tables)}
    description, groups, sizes = (by_kind.get(kind) for kind in (b"stsd", b"stsc", b"stsz"))
    places = by_kind.get(b"stco") or by_kind.get(b"co64")
    if description is None or groups is None or sizes is None or places is None:
        return None
    if description.end - description.begin > MOST_DESCRIPTION_BYTES:
        return None
    begins = _table(file, places, ">u4" if places.kind == b"stco" else ">u8", 4).astype(np.int64)
    lengths = _chunk_lengths(file, _table(file, groups, ">u4", 4, columns=3), sizes, len(begins))
    if lengths is None:
        return None
    ends = begins + lengths
    is_apart = begins[1:] != ends[:-1]
    if np.any(begins < 0) or np.any(ends > file.size) or np.count_nonzero(is_apart) > MOST_SPANS:
        return None
    firsts, lasts = begins[np.append(True, is_apart)], ends[np.append(is_apart, True)]
    return [(description.begin, description.end), *zip(firsts.tolist(), lasts.tolist(), strict=True)]


def _chunk_lengths(file: AudioFile, groups: np.ndarray, sizes: Box, n_chunks: int) -> np.ndarray | None:
    """The bytes of each chunk of samples; None if the tables contradict each other."""
    n_in_chunk = _samples_in_chunks(groups, n_chunks)
    head = file.peek(sizes.begin + 4, 8)
    same_size, n_samples = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
    if n_in_chunk is None or n_in_chunk.sum() != n_samples or same_size * n_samples > file.size:
        return None
    if same_size:
        return n_in_chunk * same_size
    table = _table(file, sizes, ">u4", 8)
    if len(table) != n_samples:
        return None
    first = np.concatenate(([0], np.cumsum(n_in_chunk)))
    return np.diff(np.concatenate(([0], np.cumsum(table, dtype=np.int64)))[first])


def _table(file: AudioFile, box: Box, kind: str, before: int, columns: int = 1) -> np.ndarray:
    """The rows of a table whose number is after so many bytes of a box; none if it is larger than the box."""
    width = np.dtype(kind).itemsize * columns
    n_rows = int.from_bytes(file.peek(box.begin + before, 4), "big")
    begin = box.begin + before + 4
    if n_rows > MOST_SAMPLES or begin + n_rows * width > min(box.end, file.size):
        n_rows = 0
    return np.frombuffer(file.peek(begin, n_rows * width), kind).reshape((-1, columns) if columns > 1 else (-1,))


def _samples_in_chunks(groups: np.ndarray, n_chunks: int) -> np.ndarray | None:
    """How many samples each chunk has: a row names the first chunk of a group, and how many each of the group has."""
    if not len(groups):
        return None
    first, n_samples = groups[:, 0].astype(np.int64), groups[:, 1].astype(np.int64)
    n_in_group = np.diff(np.append(first, n_chunks + 1))
    if first[0] != 1 or np.any(n_in_group < 0):
        return None
    return np.repeat(n_samples, n_in_group)
