"""Every error as RFC 9457 problem details: the closed set of types of the contract, section 4."""

from __future__ import annotations

import errno
import logging
import math
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ccmusic import errors

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What a disk says that is full, read-only or broken."""
CLIENT_CLOSED_REQUEST = 499  # nginx's number for it; the standard has none


# by slug: HTTP status and title
PROBLEMS: dict[str, tuple[int, str]] = {
    "invalid-parameter": (422, "Invalid parameter"),
    "upload-too-large": (413, "Upload too large"),
    "unsupported-media": (415, "Unsupported media"),
    "undecodable-audio": (422, "Undecodable audio"),
    "empty-audio": (422, "Empty audio"),
    "audio-too-long": (422, "Audio too long"),
    "model-not-ready": (503, "Model not ready"),
    "overloaded": (503, "Overloaded"),
    "inference-timeout": (504, "Inference timeout"),
    "insufficient-storage": (507, "Insufficient storage"),
    "internal": (500, "Internal error"),
}


def problem_response(error: Exception, request_id: str | None = None) -> JSONResponse:
    """Answer with problem details.

    Parameters
    ----------
    error : Exception
        Its text becomes ``detail``, unless the problem is internal: then the log has it and the client does not.
    request_id : str, optional

    Returns
    -------
    JSONResponse
    """
    slug = error.slug if isinstance(error, errors.CcmusicError) else "internal"
    status, title = PROBLEMS[slug]
    detail = str(error)
    if slug == "internal":
        logger.error("request %s failed", request_id, exc_info=error)
        detail = "Something failed in the service; the log has the cause under this request's id."
    body: dict[str, object] = {
        "type": slug,
        "title": title,
        "status": status,
        "detail": detail,
    }
    if request_id is not None:
        body["request_id"] = request_id
    if isinstance(error, errors.InvalidParameter):
        body["parameter"] = error.name
    headers = {}
    if status == 503:
        seconds = error.retry_after_seconds if isinstance(error, errors.Overloaded) else 2.0
        headers["Retry-After"] = str(math.ceil(seconds))
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of the application's routes a problem response."""

    async def on_error(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            error = errors.InsufficientStorage("there is no room on this server to receive the recording")
        return problem_response(error, request.scope.get("request_id"))

    async def on_validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = str(first["loc"][-1]) if first["loc"] else "request"
        invalid = errors.InvalidParameter(name, f"is not allowed: {first['msg']}")
        return problem_response(invalid, request.scope.get("request_id"))

    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        body = {
            "type": "about:blank",
            "title": HTTPStatus(error.status_code).phrase,
            "status": error.status_code,
            "detail": error.detail,
            "request_id": request.scope.get("request_id"),
        }
        return JSONResponse(body, error.status_code, error.headers, media_type=MEDIA_TYPE)

    async def on_disconnect(request: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # for the log and the metrics; nobody reads it

    app.add_exception_handler(ClientDisconnect, on_disconnect)
    app.add_exception_handler(errors.CcmusicError, on_error)
    app.add_exception_handler(OSError, on_error)
    app.add_exception_handler(Exception, on_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, on_http_error)  # type: ignore[arg-type]
