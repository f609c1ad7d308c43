"""The body of a request for inference as it arrives: decompressed, and divided into its JSON and its recording."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request

from ccmusic.errors import InvalidParameter, UnsupportedMedia, UploadTooLarge
from ccmusic.serving.oip_tensors import HEADER_LENGTH, JSON_TOO_LARGE, LENGTH, MAX_JSON_BYTES, BinaryPart, shown
from ccmusic.serving.received import ReceivedRecording

PIECE_BYTES = 256 * 1024
"""So much is decompressed at a time, because a small body can become a thousand times larger."""
MAX_HEADER_BYTES = 2**20
"""Most JSON before a binary tensor: it holds no recording."""

_ENCODINGS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


async def read_tensors(
    request: Request, recording: ReceivedRecording, max_bytes: int
) -> tuple[bytes, BinaryPart | None]:
    """Read the body of a request.

    Parameters
    ----------
    request : Request
    recording : ReceivedRecording
        Gets the element of the binary tensor, without its length.
    max_bytes : int
        Most bytes after decompression.

    Returns
    -------
    text : bytes
        The JSON.
    binary : BinaryPart or None
        None if the whole body is JSON.

    Raises
    ------
    UnsupportedMedia, UploadTooLarge, InvalidParameter, Overloaded
    """
    declared = request.headers.get(HEADER_LENGTH)
    n_json = _length_of(declared)
    n_head = MAX_JSON_BYTES if n_json is None else n_json + LENGTH.size
    head = bytearray()
    async with aclosing(_decompressed(request, max_bytes)) as pieces:
        async for piece in pieces:
            n = max(0, n_head - len(head))
            head += piece[:n]
            if len(piece) > n:
                if n_json is None:
                    raise UploadTooLarge(JSON_TOO_LARGE)
                await recording.append(piece[n:])
    if n_json is None:
        return bytes(head), None
    if len(head) < n_json:
        raise InvalidParameter(HEADER_LENGTH, "is not a length within the body")
    prefix = head[n_json:]
    element = LENGTH.unpack(prefix)[0] if len(prefix) == LENGTH.size else None
    return bytes(head[:n_json]), BinaryPart(len(prefix) + recording.size, element)


def _length_of(declared: str | None) -> int | None:
    if declared is None:
        return None
    if not (declared.isascii() and declared.isdigit() and int(declared[:20]) <= MAX_HEADER_BYTES):
        raise InvalidParameter(HEADER_LENGTH, f"is not a length within the body, of at most {MAX_HEADER_BYTES} bytes")
    return int(declared)


async def _decompressed(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    encoding = request.headers.get("content-encoding", "").strip().lower()
    stream = request.stream()
    if encoding in ("", "identity"):
        async with aclosing(stream):
            async for data in stream:
                yield data
        return
    if encoding not in _ENCODINGS:
        raise UnsupportedMedia(f"the content encoding {shown(encoding)} is not gzip or deflate")
    decoder = zlib.decompressobj(_ENCODINGS[encoding])
    count = 0
    async with aclosing(stream):
        async for data in stream:
            left, is_full = data, True
            while (left or is_full) and not decoder.eof:  # a full piece: there may be more without further data
                try:
                    piece = decoder.decompress(left, PIECE_BYTES)
                except zlib.error as error:
                    raise InvalidParameter("request", f"is not {encoding}: {error}") from error
                left, is_full = decoder.unconsumed_tail, len(piece) == PIECE_BYTES
                count += len(piece)
                if count > max_bytes:
                    raise UploadTooLarge(f"the request is larger than {max_bytes} bytes when decompressed")
                request.scope["admission"].admit(count)
                yield piece
                await asyncio.sleep(0)  # let other requests continue
    if not decoder.eof:
        raise InvalidParameter("request", f"ends in the middle of its {encoding} data")
