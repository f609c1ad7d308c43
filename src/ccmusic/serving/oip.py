"""The Open Inference Protocol v2 (KServe, Triton) over HTTP: health, metadata, inference, repository index.

References
----------
https://github.com/kserve/open-inference-protocol; for binary tensors and the repository, the extensions of Triton
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ccmusic.errors import InvalidParameter, ModelError, ModelNotReady
from ccmusic.inference.result import ModelIdentity
from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.process.log_lines import one_line
from ccmusic.serving.bounded_json import LARGE_BYTES, parse_json
from ccmusic.serving.dependencies import ServiceDependency
from ccmusic.serving.oip_body import read_tensors
from ccmusic.serving.oip_tensors import HEADER_LENGTH, INPUT, answer_body, outputs_of, parse_request
from ccmusic.serving.problems import MAX_DETAIL, problem_of
from ccmusic.serving.received import receiving
from ccmusic.serving.routes import unless_disconnected
from ccmusic.serving.service import Service
from ccmusic.version import __version__
from ccmusic.workers.served_model import ServedModel

ALIAS = "ccmusic"
"""A name for the model in use, so that a client need not know when the model is changed."""

EXTENSIONS = ("binary_tensor_data", "model_repository")
PLATFORM = "ccmusic_pipeline"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class UnknownModel(Exception):
    """No model with this name and version is served."""


class OipRoute(APIRoute):
    """A route that writes errors in the format of this protocol: ``{"error": "..."}``, with the usual status."""

    def get_route_handler(self) -> Handler:
        """Wrap the handler of the route."""
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except ClientDisconnect:
                raise  # the client does not read the response
            except HTTPException as error:
                return error_response(error.status_code, str(error.detail), dict(error.headers or {}))
            except UnknownModel as error:
                return error_response(404, str(error))
            except RequestValidationError as error:
                first = error.errors()[0]
                return error_response(422, f"{first['loc'][-1] if first['loc'] else 'request'}: {first['msg']}")
            except Exception as error:
                problem = problem_of(error, request.scope.get("request_id"))
                return error_response(problem.status, problem.detail, problem.headers)

        return answer


def error_response(status: int, text: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error response of this protocol."""
    return JSONResponse({"error": one_line(text, MAX_DETAIL)}, status, headers)


router = APIRouter(prefix="/v2", route_class=OipRoute, tags=["open inference protocol v2"])


@router.get("", summary="Server metadata")
async def server_metadata() -> dict[str, Any]:
    """Name, version and supported extensions of the protocol."""
    return {"name": "ccmusic", "version": __version__, "extensions": list(EXTENSIONS)}


@router.head("/health/live", summary="Server liveness, the same as /livez", operation_id="head_live")
@router.get("/health/live", summary="Server liveness, the same as /livez")
async def live(service: ServiceDependency) -> JSONResponse:
    """200 or 503."""
    return _probe(service, "live", "livez")


@router.head("/health/ready", summary="Server readiness, the same as /readyz", operation_id="head_ready")
@router.get("/health/ready", summary="Server readiness, the same as /readyz")
async def ready(service: ServiceDependency) -> JSONResponse:
    """200 or 503."""
    return _probe(service, "ready", "readyz")


def _probe(service: Service, field: str, probe: Literal["livez", "readyz"]) -> JSONResponse:
    passes = service.snapshot().passes(probe)
    return JSONResponse({field: passes}, 200 if passes else 503, {"Cache-Control": "no-store"})


@router.get("/models/{name}", summary="Model metadata")
@router.get("/models/{name}/versions/{version}")
async def model_metadata(service: ServiceDependency, name: str, version: str = "") -> dict[str, Any]:
    """The input is one encoded recording; the outputs are probabilities and genres."""
    served = _served_model(service, name, version)
    model = served.identity
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": PLATFORM,
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [1]}],
        "outputs": [output.described() for output in outputs_of(served.taxonomies).values()],
        "parameters": {"sha256": model.sha256, "taxonomies": ",".join(taxonomy.name for taxonomy in served.taxonomies)},
    }


@router.get("/models/{name}/ready", summary="Model readiness")
@router.get("/models/{name}/versions/{version}/ready")
async def model_ready(service: ServiceDependency, name: str, version: str = "") -> JSONResponse:
    """200 or 503; 404 if the model is not served."""
    model = _served_model(service, name, version).identity
    passes = service.snapshot().passes("readyz")
    return JSONResponse({"name": model.name, "ready": passes}, 200 if passes else 503, {"Cache-Control": "no-store"})


@router.post("/models/{name}/infer", summary="Classify a recording")
@router.post("/models/{name}/versions/{version}/infer")
async def infer(request: Request, service: ServiceDependency, name: str, version: str = "") -> Response:
    """Send one encoded recording as the BYTES tensor `audio`: binary, or in JSON as a base64 string."""
    _served_model(service, name, version)  # refuse before the recording is read
    outputs = outputs_of(_served_model(service, name, version).taxonomies)  # the model may have changed meanwhile
    async with receiving(request) as recording:
        text, binary = await read_tensors(request, recording, service.settings.max_upload_bytes)
        bounds = service.settings.max_json_values, service.settings.max_json_depth
        if len(text) > LARGE_BYTES:  # this holds the interpreter's lock for tens of milliseconds, but not at once
            parsed = await asyncio.to_thread(parse_request, text, binary, outputs, *bounds)
        else:
            parsed = parse_request(text, binary, outputs, *bounds)
        del text  # a second copy of the recording; not needed while the request is queued
        source = recording.source if parsed.recording is None else parsed.recording
        result = await unless_disconnected(request, service.classify(source))
    _refuse_other(result.model, name, version)  # the model may have changed meanwhile
    content, header_length = answer_body(result, parsed)
    if header_length is None:
        return Response(content, media_type="application/json")
    return Response(content, headers={HEADER_LENGTH: str(header_length)}, media_type="application/octet-stream")


@router.post("/repository/index", summary="List the models")
async def repository_index(request: Request, service: ServiceDependency) -> list[dict[str, str]]:
    """The model in use, and the models in the repository that an admin can load."""
    snapshot = service.snapshot()
    model = None if snapshot.served is None else snapshot.served.identity
    bounds = service.settings.max_json_values, service.settings.max_json_depth
    only_ready = object_of(await request.body(), *bounds).get("ready", False) is True
    models = []
    if model is not None:
        passes = snapshot.passes("readyz")
        state, reason = ("READY", "") if passes else ("UNAVAILABLE", snapshot.message_of("readyz") or "not ready")
        models.append(_entry(model.name, model.version, state, reason))
    if (directory := service.settings.model_repository) is not None:
        models += await asyncio.to_thread(_stored, directory, snapshot.served)
    return [entry for entry in models if entry["state"] == "READY" or not only_ready]


def object_of(body: bytes, max_values: int, max_depth: int) -> dict[str, Any]:
    """The JSON object of a body, which may be empty.

    Raises
    ------
    InvalidParameter
    """
    value = parse_json(body, max_values, max_depth) if body else {}
    if not isinstance(value, dict):
        raise InvalidParameter("request", "must be a JSON object or empty")
    return value


def _stored(directory: Path, served: ServedModel | None) -> list[dict[str, str]]:
    models = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if not (path / CARD_NAME).is_file():
            continue
        try:
            card = read_card(path / CARD_NAME)
        except ModelError as error:
            models.append(_entry(path.name, "", "UNAVAILABLE", str(error)))
            continue
        is_served = served is not None and not served.difference_to_card(card)
        if not (is_served and served is not None and path.name == served.identity.name):  # that one is listed already
            reason = "these files are being served" if is_served else "not loaded"
            models.append(_entry(path.name, card.version, "UNAVAILABLE", reason))
    return models


def _entry(name: str, version: str, state: str, reason: str) -> dict[str, str]:
    return {"name": name, "version": version, "state": state, "reason": reason}


def _served_model(service: Service, name: str, version: str) -> ServedModel:
    """The model in use; an error if the request names another."""
    snapshot = service.snapshot()
    if snapshot.served is None:
        raise ModelNotReady(snapshot.message or "no model has been loaded yet")
    _refuse_other(snapshot.served.identity, name, version)
    return snapshot.served


def _refuse_other(model: ModelIdentity, name: str, version: str) -> None:
    if name not in (model.name, ALIAS) or version not in (model.version, ""):
        requested = f"{name} version {version}" if version else name
        raise UnknownModel(
            f"unknown model: {requested} is not served; the model in use is {model.name} version {model.version}"
        )
