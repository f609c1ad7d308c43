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
from ccmusic.genres import TAXONOMIES, Genre, Leaf
from ccmusic.inference.occlusion import ExplainPlan
from ccmusic.inference.result import TrackResult, chosen_taxonomy
from ccmusic.serving.limits import RequestTooSlow
from ccmusic.serving.schemas import Classification, GenreInfo, Genres, Models, ModelState, Problem, TaxonomyInfo
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
    level: Annotated[int | None, Query(description="Level of the taxonomy: 16, 9 or 2; the finest by default.")] = None,
    taxonomy: Annotated[
        str | None,
        Query(description="One of the model's taxonomies, as `/v1/models` lists them; its first by default."),
    ] = None,
    explain: Annotated[
        bool, Query(description="Whether the windows that speak most for the likeliest genre say why (`saliency`).")
    ] = False,
) -> JSONResponse:
    """Send the recording as the multipart field `audio`, or as the body with an audio content type."""
    service: Service = request.app.state.service
    if offered := service.snapshot().taxonomies:  # refused here, before the recording is read
        chosen_taxonomy(taxonomy, offered).level(level)
    recording = await _recording(request)
    plan = ExplainPlan(windows=service.settings.explain_windows) if explain else None
    result = await unless_gone(request, service.classify(recording, windows=windows, explain=plan))
    request_id = request.scope["request_id"]
    return JSONResponse(result.as_json(taxonomy=taxonomy, level=level, top_k=top_k, request_id=request_id))


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


@router.get("/genres", response_model=Genres, response_model_exclude_none=True, summary="The genres of a taxonomy")
async def genres(
    request: Request,
    taxonomy: Annotated[str | None, Query(description="Its name; by default what the model answers in.")] = None,
) -> dict[str, Any]:
    """Every genre at every level, with its Chinese and English name; before a model is proved, those known by name."""
    service: Service = request.app.state.service
    chosen = chosen_taxonomy(taxonomy, service.snapshot().taxonomies or tuple(TAXONOMIES.values()))
    levels = zip(chosen.sizes, chosen.levels, strict=True)
    return {"taxonomy": chosen.name, **{f"level{size}": list(map(_genre, level)) for size, level in levels}}


def _genre(genre: Genre) -> GenreInfo:
    parents = {"level9": genre.level9, "level2": genre.level2} if isinstance(genre, Leaf) else {}
    return GenreInfo(genre=genre.label, label_zh=genre.label_zh, label_en=genre.label_en, **parents)


@router.get("/models", summary="The models and their state")
async def models(request: Request) -> Models:
    """The model that answers now."""
    service: Service = request.app.state.service
    snapshot = service.snapshot()
    held = snapshot.model
    taxonomies = [TaxonomyInfo(name=taxonomy.name, levels=list(taxonomy.sizes)) for taxonomy in snapshot.taxonomies]
    return Models(
        models=[
            ModelState(name=held.name, version=held.version, sha256=held.sha256, status="ready", taxonomies=taxonomies)
        ]
        if held is not None and snapshot.model_status == "ready"
        else [],
        model_status=snapshot.model_status,
    )
