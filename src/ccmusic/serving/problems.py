"""Errors as RFC 9457 problem details, with the closed set of types in docs/contract.md."""

from __future__ import annotations

import errno
import logging
import math
import tempfile
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ccmusic import errors
from ccmusic.monitoring.request_metrics import CLIENT_CLOSED_REQUEST
from ccmusic.process.log_lines import one_line

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
STORAGE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Error numbers of a disk that is full, read-only or broken."""

MISSING_ERRNOS = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)
"""The same of a directory of temporary files that is not there; any other file is not of the disk."""

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

MAX_DETAIL = 500
"""Most characters of the text of an error, which may repeat a value of the client."""
NOT_READY_RETRY_SECONDS = 2.0
DESCRIPTOR_RETRY_SECONDS = 5.0
INTERNAL_DETAIL = "Something failed in the service; the log has the cause under the id of this request."


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What a client learns about an error.

    Attributes
    ----------
    slug : str
        The problem's type, a key of `PROBLEMS`, or ``about:blank``.
    status : int
    detail : str
        A sentence for people.
    parameter : str or None
        The invalid parameter, if that is the error.
    headers : dict of str to str
        ``Retry-After`` with status 503 and 429.
    """

    slug: str
    status: int
    detail: str
    parameter: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def as_json(self, request_id: str | None = None) -> dict[str, Any]:
        """The body of a problem response."""
        title = PROBLEMS[self.slug][1] if self.slug in PROBLEMS else HTTPStatus(self.status).phrase
        body = {"type": self.slug, "title": title, "status": self.status, "detail": self.detail}
        further = {"request_id": request_id, "parameter": self.parameter}
        return body | {name: value for name, value in further.items() if value is not None}


def problem_of(error: Exception, request_id: str | None = None) -> ErrorAnswer:
    """Find the status, text and headers for an error.

    The text of an internal error is written to the log and not sent to the client.

    Parameters
    ----------
    error : Exception
    request_id : str, optional
        For the log.
    """
    error = _of_the_system(error)
    slug = error.slug if isinstance(error, errors.CcmusicError) else "internal"
    detail = one_line(str(error), MAX_DETAIL)
    if isinstance(error, errors.TooManyRequests):  # the service is not overloaded: other clients are served
        return ErrorAnswer(
            "about:blank", 429, detail, headers={"Retry-After": str(math.ceil(error.retry_after_seconds))}
        )
    status, _ = PROBLEMS[slug]
    if slug == "internal":
        logger.error("request %s failed", request_id, exc_info=error)
        detail = INTERNAL_DETAIL
    parameter = error.name if isinstance(error, errors.InvalidParameter) else None
    headers = {}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        seconds = error.retry_after_seconds if isinstance(error, errors.Overloaded) else NOT_READY_RETRY_SECONDS
        headers["Retry-After"] = str(math.ceil(seconds))
    return ErrorAnswer(slug, status, detail, parameter, headers)


def problem_response(error: Exception, request_id: str | None = None) -> JSONResponse:
    """Respond with problem details; see `problem_of`."""
    problem = problem_of(error, request_id)
    return JSONResponse(problem.as_json(request_id), problem.status, problem.headers, media_type=MEDIA_TYPE)


OIP_PREFIX = "/v2/"
"""Paths of the Open Inference Protocol, which has an error format of its own."""


def refusal_response(error: Exception, request_id: str | None = None, path: str = "") -> JSONResponse:
    """Respond to an error outside of the routes, also an `HTTPException`, in the format of the path."""
    if path.startswith(OIP_PREFIX):
        if isinstance(error, HTTPException):
            return JSONResponse({"error": error.detail}, error.status_code, error.headers)
        problem = problem_of(error, request_id)
        return JSONResponse({"error": problem.detail}, problem.status, problem.headers)
    if not isinstance(error, HTTPException):
        return problem_response(error, request_id)
    body = {
        "type": "about:blank",
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "detail": error.detail,
        "request_id": request_id,
    }
    return JSONResponse(body, error.status_code, error.headers, media_type=MEDIA_TYPE)


def _of_the_system(error: Exception) -> Exception:
    """An error of the disk, or of the limit on descriptors, as an error of this package."""
    if not isinstance(error, OSError):
        return error
    path = error.filename
    in_temporary = isinstance(path, str) and Path(path).is_relative_to(tempfile.gettempdir())
    if error.errno in STORAGE_ERRNOS or (error.errno in MISSING_ERRNOS and in_temporary):
        return errors.InsufficientStorage("this server has no disk space to receive the recording")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return errors.Overloaded("no file can be opened for the recording at present", DESCRIPTOR_RETRY_SECONDS)
    return error


def install_problem_handlers(app: FastAPI) -> None:
    """Turn every error of the application's routes into a problem response."""

    async def on_error(request: Request, error: Exception) -> JSONResponse:
        return problem_response(error, request.scope.get("request_id"))

    async def on_validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = str(first["loc"][-1]) if first["loc"] else "request"
        invalid = errors.InvalidParameter(name, f"is not allowed: {first['msg']}")
        return problem_response(invalid, request.scope.get("request_id"))

    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        return refusal_response(error, request.scope.get("request_id"))

    async def on_disconnect(request: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # only for the log and the metrics

    app.add_exception_handler(ClientDisconnect, on_disconnect)
    app.add_exception_handler(errors.CcmusicError, on_error)
    app.add_exception_handler(OSError, on_error)
    app.add_exception_handler(Exception, on_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, on_http_error)  # type: ignore[arg-type]
