"""The OpenAPI document: what FastAPI knows of the routes, and what it does not know.

It knows neither the routes of other rooms (health, metrics), nor what the middleware and the error handlers answer.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from ccmusic.serving.problems import MEDIA_TYPE, OIP_PREFIX

_PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_OIP_ERROR = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/OipError"}}}}
_ANY: dict[str, Any] = {"content": {"application/json": {}, MEDIA_TYPE: {}, "text/plain": {}}}
_SCHEMAS = {
    "OipError": {
        "type": "object",
        "title": "OipError",
        "description": "An error of the Open Inference Protocol.",
        "properties": {"error": {"type": "string"}},
        "required": ["error"],
    }
}

_EVERY = {
    "400": "The head of the request is not allowed, such as its host name.",
    "408": "The request arrived too slowly.",
    "413": "The body is too large.",
    "421": "The service has another host name.",
    "422": "A parameter or the body is not allowed.",
    "429": "This client sends too much; the header Retry-After gives the seconds to wait.",
    "500": "Something failed in the service.",
    "503": "The service has no room or is not ready; the header Retry-After gives the seconds to wait.",
}
"""What every request can be answered."""

OUTSIDE = ("400", "401", "408", "413", "421", "429")
"""What middleware answers, too, in its own format."""

_MORE: dict[str, dict[str, str]] = {
    "/v1/classify": {"401": "The API key is missing or unknown."},
    "/v2/models/{name}": {"404": "No such model is served."},
    "/v2/repository/models/": {
        "401": "The admin token is missing or wrong.",
        "403": "Admin calls are closed.",
        "404": "There is no such model.",
        "409": "The model was refused; the text says why.",
    },
    "/debug/": {
        "401": "The admin token is missing or wrong.",
        "403": "Admin calls are closed.",
        "404": "There is no such thing, or faults cannot be injected here.",
    },
}
"""What requests to paths with this beginning can be answered, too."""

_INFER = {
    "401": "The API key is missing or unknown.",
    "415": "`unsupported-media`",
    "504": "`inference-timeout`",
    "507": "`insufficient-storage`",
}
_TENSORS = {
    "required": True,
    "content": {
        "application/json": {"schema": {"type": "object", "required": ["inputs"]}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}
_OPTIONAL_OBJECT = {"content": {"application/json": {"schema": {"type": "object"}}}}
_BODIES = {
    "/v2/repository/index": _OPTIONAL_OBJECT,
    "/v2/repository/models/{name}/load": _OPTIONAL_OBJECT,
}

_PROBES = {
    "/health": "Whether everything that the service promises is true",
    "/startupz": "Whether the first load and self-test have passed",
    "/livez": "Whether the loops of the service run",
    "/readyz": "Whether requests can be answered",
}


def complete_document(app: FastAPI) -> None:
    """Let the application describe every route and every answer.

    Parameters
    ----------
    app : FastAPI
    """
    of_fastapi = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(of_fastapi())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    paths = document["paths"] = _probes() | _metrics() | document["paths"]
    schemas = document["components"]["schemas"]
    schemas |= _SCHEMAS
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's format of errors, which nothing here has
        schemas.pop(unused, None)
    for path, methods in paths.items():
        error = _OIP_ERROR if path.startswith(OIP_PREFIX) else _PROBLEM
        known = _EVERY | {k: v for start, more in _MORE.items() if path.startswith(start) for k, v in more.items()}
        if path.endswith("/infer"):
            known |= _INFER
            methods["post"]["requestBody"] = _TENSORS
        elif path in _BODIES:
            methods["post"]["requestBody"] = _BODIES[path]
        for method, operation in methods.items():
            answers = operation["responses"]
            if path.startswith("/v1/"):
                answers.pop("422", None)
            for status, description in known.items():
                form = {} if method == "head" else error
                if path.startswith("/debug/") or status in OUTSIDE:  # also of the middleware
                    form = {} if method == "head" else _ANY
                answers.setdefault(status, {"description": description, **form})
            if not path.startswith("/v1/"):
                answers["422"] = {"description": _EVERY["422"], **({} if method == "head" else _ANY)}
    return document


def _probes() -> dict[str, Any]:
    forms: dict[str, Any] = {"application/json": {}, "application/health+json": {}, "text/plain": {}}
    verbose = {"name": "verbose", "in": "query", "schema": {"type": "string"}, "description": "One line for each check"}
    return {
        path: {
            method: {
                "tags": ["health"],
                "summary": summary,
                "operationId": f"{path[1:]}_{method}",
                "parameters": [verbose],
                "responses": {
                    "200": {"description": "True", **({"content": forms} if method == "get" else {})},
                    "503": {
                        "description": "False; the body says why",
                        **({"content": forms} if method == "get" else {}),
                    },
                },
            }
            for method in ("get", "head")
        }
        for path, summary in _PROBES.items()
    }


def _metrics() -> dict[str, Any]:
    forms: dict[str, Any] = {"text/plain": {}, "application/openmetrics-text": {}}
    return {
        "/metrics": {
            method: {
                "tags": ["health"],
                "summary": "Metrics for Prometheus",
                "operationId": f"metrics_{method}",
                "responses": {"200": {"description": "Text", **({"content": forms} if method == "get" else {})}},
            }
            for method in ("get", "head")
        }
    }
