"""Calls that need the admin token: change the model, read stack dumps, inject faults.

If the settings have no token, all of these calls are refused.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.routing import APIRoute

from ccmusic.errors import InvalidParameter, ModelError, SwapInProgress
from ccmusic.serving.dependencies import ServiceDependency, service_of
from ccmusic.serving.oip import Handler, OipRoute, error_response, object_of
from ccmusic.settings import Settings
from ccmusic.workers.faults import FAULTS

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class _Guarded(APIRoute):
    """A route that checks the token before it reads the request."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            # in a thread, because the token may be in a file
            refusal = await asyncio.to_thread(_refusal, request)
            return refusal or await handler(request)

        return answer


class _GuardedOip(_Guarded, OipRoute):
    """A guarded route with the errors of the Open Inference Protocol."""


class _Fault(_Guarded):
    """A guarded route that exists only if faults can be injected."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            if not service_of(request).settings.fault_injection:
                return error_response(404, "there is no such path")
            return await handler(request)

        return answer


def _refusal(request: Request) -> JSONResponse | None:
    try:
        secret = service_of(request).settings.admin_secret
    except (OSError, UnicodeDecodeError) as error:
        return error_response(403, f"admin calls are closed: the token's file cannot be read: {error}")
    if not secret:
        return error_response(403, "admin calls are closed: set CCMUSIC_ADMIN_TOKEN")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    # as bytes: compare_digest accepts no text but ASCII, and Starlette decodes header values as Latin-1
    is_token = hmac.compare_digest(token.strip().encode("latin-1"), secret.encode())
    if is_token and scheme.lower() == "bearer":
        return None
    return error_response(
        401,
        "the admin token is missing or wrong: send it as Authorization: Bearer TOKEN",
        {"WWW-Authenticate": 'Bearer realm="ccmusic"'},
    )


repository = APIRouter(prefix="/v2/repository/models", route_class=_GuardedOip, tags=["admin"])
debug = APIRouter(prefix="/debug", route_class=_Guarded, tags=["admin"])
fault = APIRouter(prefix="/debug", route_class=_Fault, tags=["admin"])


@repository.post("/{name}/load", summary="Change to another model of the repository")
async def load(request: Request, service: ServiceDependency, name: str) -> Response:
    """Answers when the new model is in use, or when it was refused (409, with the reason) and the old one continues."""
    # the parameters with which Triton's clients override a model's configuration have no effect here
    if object_of(await request.body(), service.settings.max_json_values, service.settings.max_json_depth).get(
        "parameters"
    ):
        raise InvalidParameter("parameters", "are not supported: a model is loaded as it is in the repository")
    if not MODEL_NAME.fullmatch(name):
        raise InvalidParameter("name", f"must match {MODEL_NAME.pattern}, unlike {name!r}")
    if (unknown := await asyncio.to_thread(_unknown, service.settings, name)) is not None:
        return error_response(404, unknown)
    try:
        report = await service.load_model(name)
    except (ModelError, SwapInProgress) as error:
        return error_response(409, str(error))
    return JSONResponse(report.as_json())


def _unknown(settings: Settings, name: str) -> str | None:
    directory: Path | None = settings.model_repository
    if directory is None:
        return "there is no model repository: set CCMUSIC_MODEL_REPOSITORY"
    return None if (directory / name).is_dir() else f"there is no model {name} in the repository"


@repository.post("/{name}/unload", summary="Always refused: there must be a model")
async def unload(name: str) -> Response:
    """Always 409."""
    return error_response(409, f"{name} is not unloaded: the model in use can only be replaced by another model")


@debug.get("/stack-dumps/{dump_id}", summary="The stack of a worker when it was marked failed", response_model=None)
async def stack_dump(service: ServiceDependency, dump_id: int) -> Response:
    """The stack of each thread, as text."""
    text = service.stack_dump(dump_id)
    if text is None:
        return error_response(404, f"there is no stack dump {dump_id}; only the last ones are kept")
    return PlainTextResponse(text, headers={"Cache-Control": "no-store"})


@fault.get("/faults")
async def faults() -> list[dict[str, str]]:
    """The faults that can be injected."""
    return [{"name": name, "description": description} for name, description in FAULTS.items()]


@fault.post("/faults/{name}")
async def inject(
    service: ServiceDependency,
    name: str,
    worker: Annotated[int, Query(ge=0)] = 0,
    size: Annotated[float | None, Query(gt=0, allow_inf_nan=False)] = None,
    seconds: Annotated[float | None, Query(gt=0, allow_inf_nan=False)] = None,
) -> Mapping[str, Any]:
    """Inject a fault. `seconds` is another name of `size`, for faults whose size is a time."""
    if name not in FAULTS:
        raise InvalidParameter("fault", f"must be one of {', '.join(FAULTS)}, not {name!r}")
    return await service.inject(name, worker=worker, size=seconds if size is None else size)


@fault.delete("/faults", status_code=204)
def clear_faults(service: ServiceDependency) -> None:
    """End every fault that is active until cleared."""
    service.clear_faults()


@fault.post("/restart-workers", status_code=204)
def restart_workers(service: ServiceDependency) -> None:
    """Replace every worker after its job."""
    service.restart_workers()


router = APIRouter()
router.include_router(repository)
router.include_router(debug)
router.include_router(fault)
