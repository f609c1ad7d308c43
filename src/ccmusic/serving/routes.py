"""Version 1 of the HTTP API: classification, genres, models."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Annotated, Any, BinaryIO, cast

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from ccmusic.errors import EmptyAudio, InvalidParameter, UnsupportedMedia
from ccmusic.genres import TAXONOMIES, Genre, Leaf
from ccmusic.inference.occlusion import ExplainPlan
from ccmusic.inference.result import TrackResult, chosen_taxonomy, chosen_top_k
from ccmusic.serving.dependencies import ServiceDependency
from ccmusic.serving.received import ReceivedRecording, receiving
from ccmusic.serving.schemas import Classification, GenreInfo, Genres, Models, ModelState, Problem, TaxonomyInfo

router = APIRouter(prefix="/v1", tags=["classification"])

FIELD = "audio"
"""Name of the multipart field that holds the recording."""

MANY_WINDOWS = 100
"""The answer for more windows is written on a thread."""

EXTENDED_NAME = re.compile(rb";\s*filename\*", re.IGNORECASE)
"""How a name that is not ASCII begins in RFC 6266. RFC 7578 does not allow it in a form, but programs send it."""

RAW_TYPES = ("audio/", "video/", "application/ogg", "application/octet-stream")
"""Content types whose body is the recording itself; its first bytes decide the audio format."""

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
        400: "the request is ambiguous, or its header Host is no name of a host",
        401: "the API key is missing or unknown",
        413: "`upload-too-large`",
        415: "`unsupported-media`",
        422: "`undecodable-audio`, `empty-audio`, `audio-too-long`, `invalid-parameter`",
        429: "this client sends too much; the header Retry-After gives the seconds to wait",
        500: "`internal`",
        503: "`overloaded`, `model-not-ready`; the header Retry-After gives the seconds to wait",
        504: "`inference-timeout`",
        507: "`insufficient-storage`",
    }.items()
}


@router.post(
    "/classify",
    response_model=Classification,
    responses=_PROBLEMS,
    openapi_extra=_RECORDING,
    summary="Classify a recording",
)
async def classify(
    request: Request,
    service: ServiceDependency,
    top_k: Annotated[
        int | None,
        Query(
            ge=1,
            description="Number of predictions per track and per window, at most the number of labels. Default: 5, or "
            "all labels if there are fewer.",
        ),
    ] = None,
    windows: Annotated[str, Query(description="`whole`, `first30`, or the number of windows.")] = "whole",
    level: Annotated[
        int | None, Query(description="Level of the taxonomy; `ccmusic` has 16, 9, 2. Default: the finest.")
    ] = None,
    taxonomy: Annotated[
        str | None,
        Query(description="One of the model's taxonomies; `/v1/models` lists them. Default: the first."),
    ] = None,
    explain: Annotated[
        bool, Query(description="Add an explanation (`saliency`) to the windows with the most evidence for the genre.")
    ] = False,
) -> JSONResponse:
    """Send the recording as the multipart file field `audio`, or as the request body with an audio content type."""
    if (served := service.snapshot().served) is not None:  # check the parameters before the recording is read
        chosen = chosen_taxonomy(taxonomy, served.taxonomies)
        chosen.level(level)
        chosen_top_k(top_k, chosen)
    plan = None
    if explain:
        plan = ExplainPlan(windows=service.settings.explain_windows, taxonomy=taxonomy, level=level)
    async with receiving(request) as recording:
        await _receive(request, recording)
        work = service.classify(recording.source, windows=windows, explain=plan)
        result = await unless_disconnected(request, work)

    def answer() -> JSONResponse:
        request_id = request.scope["request_id"]
        return JSONResponse(result.as_json(taxonomy=taxonomy, level=level, top_k=top_k, request_id=request_id))

    # the JSON of a thousand windows takes a tenth of a second
    return answer() if len(result.windows) <= MANY_WINDOWS else await asyncio.to_thread(answer)


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, TrackResult]) -> TrackResult:
    """Wait for the work, but cancel it if the client disconnects, so that its place in the queue becomes free."""
    working = asyncio.ensure_future(work)
    disconnecting = asyncio.ensure_future(request.receive())  # the body has been read: only a disconnect can come
    try:
        await asyncio.wait({working, disconnecting}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        disconnecting.cancel()


class _FormParser(MultiPartParser):
    """Starlette's parser of forms; its one file becomes the received recording."""

    def __init__(self, request: Request, stream: AsyncGenerator[bytes, None], recording: ReceivedRecording) -> None:
        super().__init__(request.headers, stream, max_files=1, max_fields=8)
        self._recording = recording

    def on_headers_finished(self) -> None:
        """Called when the headers of a part are complete."""
        part = self._current_part
        if part.content_disposition is not None and EXTENDED_NAME.search(part.content_disposition):
            part.content_disposition += b'; filename=""'  # a file too: Starlette knows it by the plain name only
        super().on_headers_finished()
        if part.file is not None:
            part.file.file.close()
            part.file.file = cast("BinaryIO", self._recording)


async def _receive(request: Request, recording: ReceivedRecording) -> None:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        try:
            async with aclosing(request.stream()) as stream:
                form = await _FormParser(request, stream, recording).parse()
        except MultiPartException as error:
            raise InvalidParameter(FIELD, f"cannot be read: {error}") from error
        if not isinstance(form.get(FIELD), UploadFile):
            raise InvalidParameter(FIELD, "is missing: send the recording as the multipart file field `audio`")
        return
    if content_type.startswith(RAW_TYPES):
        async with aclosing(request.stream()) as stream:
            async for data in stream:
                await recording.append(data)
        return
    if not content_type:
        raise EmptyAudio("the request has no recording: send the multipart file field `audio`, or the file as the body")
    raise UnsupportedMedia(
        f"the content type {content_type} is not audio: send the multipart file field `audio`, "
        "or the file as the body with its audio content type"
    )


@router.get("/genres", response_model=Genres, response_model_exclude_none=True, summary="The genres of a taxonomy")
async def genres(
    service: ServiceDependency,
    taxonomy: Annotated[str | None, Query(description="Name of the taxonomy. Default: the first of the model.")] = None,
) -> dict[str, Any]:
    """Every genre of every level, with its names in Chinese and English.

    Until a model is loaded, only the built-in taxonomies are known.
    """
    served = service.snapshot().served
    chosen = chosen_taxonomy(taxonomy, tuple(TAXONOMIES.values()) if served is None else served.taxonomies)
    levels = zip(chosen.sizes, chosen.levels, strict=True)
    return {"taxonomy": chosen.name, **{f"level{size}": list(map(_genre, level)) for size, level in levels}}


def _genre(genre: Genre) -> GenreInfo:
    parents = {"level9": genre.level9, "level2": genre.level2} if isinstance(genre, Leaf) else {}
    return GenreInfo(genre=genre.label, label_zh=genre.label_zh, label_en=genre.label_en, **parents)


@router.get("/models", summary="The models and their states")
async def models(service: ServiceDependency) -> Models:
    """The model in use."""
    snapshot = service.snapshot()
    served = snapshot.served
    if served is None or snapshot.model_status != "ready":
        return Models(models=[], model_status=snapshot.model_status)
    model, taxonomies = served.identity, [TaxonomyInfo(name=t.name, levels=list(t.sizes)) for t in served.taxonomies]
    state = ModelState(
        name=model.name, version=model.version, sha256=model.sha256, status="ready", taxonomies=taxonomies
    )
    return Models(models=[state], model_status=snapshot.model_status)
