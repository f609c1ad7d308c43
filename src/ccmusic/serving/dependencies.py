"""What the HTTP routes take from the application."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from ccmusic.serving.service import Service


def service_of(request: Request) -> Service:
    """The service of the application that handles this request."""
    service: Service = request.app.state.service
    return service


async def _service(request: Request) -> Service:
    """As a coroutine: FastAPI would call a function on a thread, which takes longer and needs a free one."""
    return service_of(request)


ServiceDependency = Annotated[Service, Depends(_service)]
"""As the annotation of a route's parameter: FastAPI passes the service."""
