"""The bridge: its routes, its checks, and how they are assembled."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ccmusic.alerting.failures import NotSent
from ccmusic.alerting.mailing import Mail
from ccmusic.alerting.messages import Message
from ccmusic.alerting.metrics import BridgeMetrics
from ccmusic.alerting.notification import Notification
from ccmusic.alerting.outbox import Clock, Outbox, Rate
from ccmusic.alerting.robot import Robot
from ccmusic.alerting.settings import BridgeSettings
from ccmusic.alerting.watchdog import Watchdog
from ccmusic.health import Check, Health, Observation, Probe, failed, install, passed, warned
from ccmusic.health.clock import CLOCK
from ccmusic.process.secret_file import read_secret
from ccmusic.version import __version__

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 2**20
BODY_SECONDS = 10.0
PROBES: frozenset[Probe] = frozenset({"health", "readyz"})


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Bridge:
    """The handlers of the routes, and the state behind them.

    Parameters
    ----------
    settings : BridgeSettings
    rate : Rate, optional
        Limit of messages to WeCom; a test uses a shorter period.
    first_pause_seconds : float, optional
        Pause between the first two attempts.
    clock, now : callable
        Seconds in which this process ran, and the time of day, for the watchdog.
    """

    def __init__(
        self,
        settings: BridgeSettings,
        *,
        rate: Rate | None = None,
        first_pause_seconds: float = 1.0,
        clock: Clock = CLOCK.now,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._robot = Robot(settings.robot_url_file)
        second = Mail(settings) if settings.smtp_host is not None else None
        self.watchdog = Watchdog(settings.heartbeat_seconds, self._deliver, clock=clock, now=now)
        self.metrics = BridgeMetrics(lambda: self.watchdog.age_seconds)
        self.outbox = Outbox(
            settings, self._robot, second, self.metrics, rate=rate, first_pause_seconds=first_pause_seconds
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def _deliver(self, message: Message) -> Any:
        return await self.outbox.deliver(message)

    # HTTP

    async def alerts(self, request: Request) -> Response:
        """``POST /alerts``: 200 once the message is delivered, 503 if Alertmanager must retry."""
        try:
            notification = await self._notification(request)
        except _Refused as refusal:
            return _refusal(refusal)
        message = Message(notification.alerts, notification.external_url, notification.truncated_alerts)
        outcome = await self.outbox.deliver(message, notification.key)
        if outcome == "failed":
            return JSONResponse({"outcome": outcome, "error": self.metrics.failure}, 503)
        return JSONResponse({"outcome": outcome})

    async def heartbeat(self, request: Request) -> Response:
        """``POST /heartbeat``: receives the watchdog alert."""
        try:
            self.watchdog.note(await self._notification(request))
        except _Refused as refusal:
            return _refusal(refusal)
        return JSONResponse({"outcome": "noted"})

    async def show_metrics(self, request: Request) -> Response:
        """``GET /metrics``."""
        body, content_type = self.metrics.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    async def _notification(self, request: Request) -> Notification:
        self._check_token(request)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(request)
            return Notification.model_validate_json(body)
        except TimeoutError:
            raise _Refused(408, "the body did not arrive in time") from None
        except ClientDisconnect:
            raise _Refused(400, "the client disconnected") from None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise _Refused(400, f"not Alertmanager's webhook, version 4: {where}: {first['msg']}") from None

    def _check_token(self, request: Request) -> None:
        if self._settings.token_file is None:
            return
        try:
            token = read_secret(self._settings.token_file)
        except (OSError, UnicodeDecodeError):
            token = None
        if not token:
            logger.error(
                "the token file %s cannot be read or is empty; all requests are refused", self._settings.token_file
            )
            raise _Refused(503, "the bridge's token file cannot be read or is empty")
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise _Refused(401, "a bearer token is required")

    # health

    def checks(self) -> list[Check]:
        """The checks of `/health` and the probes."""
        return [
            Check("tasks", self._observe_tasks, frozenset({"health", "livez"})),
            Check("robot_file", self._observe_robot_file, PROBES, period_seconds=2.0),
            Check("last_message", self._observe_last_message, PROBES),
            Check("heartbeat", self._observe_heartbeat, frozenset({"health"}), "age"),
        ]

    def _observe_tasks(self) -> Observation:
        ended = [task.get_name() for task in self._tasks if task.done()]
        return failed(f"{', '.join(ended)} has ended", code="task_ended") if ended else passed()

    def _observe_robot_file(self) -> Observation:
        try:
            self._robot.address()
        except NotSent as failure:
            return failed(failure.text, code="secret_unreadable")
        return passed()

    def _observe_last_message(self) -> Observation:
        if self.metrics.last_outcome == "failed":
            return failed(f"not delivered: {self.metrics.failure}", code="not_sent")
        if self.metrics.last_outcome == "mailed":
            return warned(f"sent by mail, because WeCom did not accept it: {self.metrics.failure}", code="sent_by_mail")
        return passed()

    def _observe_heartbeat(self) -> Observation:
        age = round(self.watchdog.age_seconds, 1)
        if self.watchdog.lost:
            return failed("no watchdog alert has arrived for too long", age, "s", code="heartbeat_lost")
        return passed(age, "s")

    # lifespan

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        """Send messages and check for heartbeats while the application runs."""
        loops = {"outbox": self.outbox.run(), "heartbeat": self.watchdog.run()}
        self._tasks = [asyncio.create_task(loop, name=name) for name, loop in loops.items()]
        try:
            yield
        finally:
            tasks, self._tasks = self._tasks, []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def create_app(settings: BridgeSettings, **options: Any) -> Starlette:
    """Assemble the bridge.

    Parameters
    ----------
    settings : BridgeSettings
    **options
        Those of `Bridge`.
    """
    bridge = Bridge(settings, **options)
    app = Starlette(
        routes=[
            Route("/alerts", bridge.alerts, methods=["POST"]),
            Route("/heartbeat", bridge.heartbeat, methods=["POST"]),
            Route("/metrics", bridge.show_metrics, methods=["GET"]),
        ],
        lifespan=bridge.lifespan,
    )
    health = Health("ccmusic-wecom-bridge", __version__)
    for check in bridge.checks():
        health.add(check)
    install(app, health)
    app.state.bridge = bridge
    return app


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _Refused(413, f"more than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _refusal(refusal: _Refused) -> Response:
    logger.warning("refused a request: %d: %s", refusal.status, refusal.text)
    headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
    return JSONResponse({"error": refusal.text}, refusal.status, headers)
