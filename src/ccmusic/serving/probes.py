"""``GET /health``: the snapshot, and nothing else in the request path."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ccmusic.serving.service import Service

router = APIRouter(tags=["health"])


@router.api_route(
    "/health",
    methods=["GET", "HEAD"],
    summary="Is everything that was promised true?",
    responses={503: {"description": "No; `message` says what is wrong."}},
)
async def health(request: Request) -> JSONResponse:
    """200 with ``status: ok``, or 503 with ``status: error`` and the cause in ``message``."""
    service: Service = request.app.state.service
    snapshot = service.snapshot()
    return JSONResponse(snapshot.as_json(), 200 if snapshot.healthy else 503, {"Cache-Control": "no-store"})
