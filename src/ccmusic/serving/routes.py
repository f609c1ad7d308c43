"""The HTTP API, version 1."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ccmusic.errors import EmptyAudio, InvalidParameter, UnsupportedMedia
from ccmusic.genres import GENRES, LEAVES, LEVELS
from ccmusic.inference.result import TrackResult
from ccmusic.serving.limits import RequestTooSlow
from ccmusic.serving.schemas import Classification, GenreInfo, Genres, LeafInfo, Models, ModelState, Problem
from ccmusic.serving.service import Service

router = APIRouter(prefix="/v1", tags=["classification"])

FIELD = "audio"
"""Name of the multipart field that holds the recording."""

RAW_TYPES = ("audio/", "video/", "application/ogg", "application/octet-stream")
"""Content types under which the body itself is the recording; what it really is, its first bytes decide."""

_BINARY = {"type": "string", "format": "binary"}
_RECORDING: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {FIELD: _BINARY}, "required": [FIELD]},
            },
            "audio/*": {"schema": _BINARY},
            "application/octet-stream": {"schema": _BINARY},
        },
    }
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": types, "content": {"application/problem+json": {}}}
    for status, types in {
        413: "`upload-too-large`",
        415: "`unsupported-media`",
        422: "`undecodable-audio`, `empty-audio`, `audio-too-long`, `invalid-parameter`",
        500: "`internal`",
        503: "`overloaded`, `model-not-ready`; Retry-After says when to come again",
        504: "`inference-timeout`",
        507: "`insufficient-storage`",
    }.items()
}


@router.post(
    "/classify",
    response_model=Classification,
    responses=_PROBLEMS,
    openapi_extra=_RECORDING,
    summary="Name the genre of a recording",
)
async def classify(
    request: Request,
    top_k: Annotated[int, Query(ge=1, le=16, description="How many predictions the track and each window have.")] = 5,
    windows: Annotated[str, Query(description="`whole`, `first30`, or how many windows.")] = "whole",
    level: Annotated[int, Query(description="Level of the taxonomy: 16, 9 or 2.")] = 16,
) -> JSONResponse:
    """Send the recording as the multipart field `audio`, or as the body with an audio content type."""
    if level not in LEVELS:
        raise InvalidParameter("level", f"must be one of {', '.join(map(str, LEVELS))}, not {level}")
    service: Service = request.app.state.service
    recording = await _recording(request)
    result = await unless_gone(request, service.classify(recording, windows=windows))
    request_id = request.scope["request_id"]
    return JSONResponse(result.as_json(level=level, top_k=top_k, request_id=request_id))


async def unless_gone(request: Request, work: Coroutine[Any, Any, TrackResult]) -> TrackResult:
    """Wait for the work, but give it up when the client hangs up: its place in the queue is for those who wait."""
    working = asyncio.ensure_future(work)
    hanging_up = asyncio.ensure_future(request.receive())  # the body is read; what still can come is the end
    try:
        await asyncio.wait({working, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        hanging_up.cancel()


async def _recording(request: Request) -> bytes:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        try:
            async with request.form(max_files=1, max_fields=8) as form:
                upload = form.get(FIELD)
                if not isinstance(upload, UploadFile):
                    raise InvalidParameter(FIELD, "is missing: send the recording as the multipart file field `audio`")
                return await upload.read()
        except RequestTooSlow:
            raise
        except HTTPException as error:  # what Starlette makes of a form that is broken
            raise InvalidParameter(FIELD, f"cannot be read: {error.detail}") from error
    if content_type.startswith(RAW_TYPES):
        return await request.body()
    if not content_type:
        raise EmptyAudio("the request has no recording: send the multipart file field `audio`, or the file as the body")
    raise UnsupportedMedia(
        f"the content type {content_type} is not audio: send the multipart file field `audio`, "
        "or the file as the body with its audio content type"
    )


@router.get("/genres", summary="The taxonomy")
async def genres() -> Genres:
    """Every genre at every level, with its Chinese and English name."""
    return Genres(
        level16=[
            LeafInfo(genre=g.label, label_zh=g.label_zh, label_en=g.label_en, level9=g.level9, level2=g.level2)
            for g in LEAVES
        ],
        level9=[GenreInfo(genre=g.label, label_zh=g.label_zh, label_en=g.label_en) for g in GENRES[9]],
        level2=[GenreInfo(genre=g.label, label_zh=g.label_zh, label_en=g.label_en) for g in GENRES[2]],
    )


@router.get("/models", summary="The models and their state")
async def models(request: Request) -> Models:
    """The model that answers now."""
    service: Service = request.app.state.service
    snapshot = service.snapshot()
    held = snapshot.model
    ready = held is not None and snapshot.model_status == "ready"
    return Models(
        models=[ModelState(name=held.name, version=held.version, sha256=held.sha256, status="ready")]
        if ready and held is not None
        else [],
        model_status=snapshot.model_status,
    )
