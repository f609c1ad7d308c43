"""What the HTTP routes take from the application."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from ccmusic.serving.service import Service


def service_of(request: Request) -> Service:
    """The service of the application that handles this request."""
    service: Service = request.app.state.service
    return service


ServiceDependency = Annotated[Service, Depends(service_of)]
"""As the annotation of a route's parameter: FastAPI passes the service."""
