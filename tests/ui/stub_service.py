"""A stub service that answers at once, and a server with the page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI

from ccmusic.errors import ModelNotReady
from ccmusic.genres import CCMUSIC, LEAVES, WORLD, Taxonomy, roll_up
from ccmusic.health import CheckResult
from ccmusic.inference.occlusion import ExplainPlan, Explanation
from ccmusic.inference.result import HeadResult, ModelIdentity, TrackResult, Window
from ccmusic.monitoring.page_state import PageState
from ccmusic.monitoring.service_snapshot import ServiceSnapshot
from ccmusic.serving.clients import ApiKeys
from ccmusic.serving.edge import Edge, TrustedProxies
from ccmusic.settings import Settings
from ccmusic.ui.mount import page_attached
from ccmusic.workers.records import SelfTestState, WorkerRecord
from ccmusic.workers.served_model import ServedModel
from ccmusic.workers.supervisor_state import SupervisorState
from support.waiting import wait_until

TESTED = SelfTestState(passed=True, age_seconds=5.0, seconds=0.02, best_seconds=0.01, failures=0)
MODEL = ModelIdentity("stub", "1.2.3", "0123456789abcdef" * 4)


def snapshot(
    model_status: str, code: str = "ok", message: str | None = None, uptime_seconds: float = 1.0, **state: object
) -> ServiceSnapshot:
    """A snapshot with one check, which fails if there is a message; `state` are fields of its `SupervisorState`."""
    affects = frozenset({"health", "startupz", "readyz"})
    name = "model_file" if code == "file_missing" else "model"
    check = CheckResult(name, affects, "fail" if message else "pass", message, message=message, code=code)
    return ServiceSnapshot(
        service="stub",
        version="0",
        model_status=model_status,
        checks=(check,),
        uptime_seconds=uptime_seconds,
        supervisor=SupervisorState(**state),
    )


def probabilities(likeliest: int, share: float = 0.7) -> np.ndarray:
    """`share` for one genre, the rest spread evenly [shape=(16,)]."""
    spread = np.full(16, (1 - share) / 15)
    spread[likeliest] = share
    return spread


def track_result(likeliest: int = 3, flags: tuple[str, ...] = (), spectrogram: bool = True) -> TrackResult:
    """A result for 30 seconds in three windows; the last window has the next genre."""
    windows = tuple(Window(10.0 * i, 10.0 * (i + 1), probabilities(likeliest + (i == 2))) for i in range(3))
    track = np.mean([window.probabilities for window in windows], axis=0)
    levels = {16: track, 9: roll_up(track, 9), 2: roll_up(track, 2)}
    picture = np.arange(84, dtype=np.uint8)[:, np.newaxis].repeat(50, axis=1) if spectrogram else None
    world = HeadResult(
        WORLD, {16: track[::-1]}, np.array([window.probabilities[::-1] for window in windows]), ("uncertain",)
    )
    timings = {"decode": 0.1, "inference": 0.3}
    return TrackResult(MODEL, 30.0, levels, windows, flags, timings, picture, heads=(world,))


def explanation(window: int = 0) -> Explanation:
    """A window in which only the third block of the second octave supports Opera."""
    without = np.full((7, 10), 0.6)
    without[1, 2] = 0.2
    picture = np.full((84, 100), 200, dtype=np.uint8)
    return Explanation(window, 10.0 * window, 10.0 * (window + 1), "ccmusic", LEAVES[1], 0.6, without, picture)


class StubService:
    """Returns `result`, or raises it if it is an error; loading unless `ready`; its model has `taxonomies`."""

    def __init__(self, result: TrackResult | Exception | None = None, ready: bool = True) -> None:
        self.result = result or track_result()
        self.ready = ready
        self.taxonomies: tuple[Taxonomy, ...] = (CCMUSIC,)
        self.calls: list[tuple[Path, str | int, bool]] = []
        self.plans: list[ExplainPlan] = []
        self.clients: list[str | None] = []
        self.page_states: list[PageState] = []

    def report_page(self, state: PageState) -> None:
        self.page_states.append(state)

    async def classify(
        self,
        source: Path,
        *,
        windows: str | int = "whole",
        spectrogram: bool = False,
        explain: ExplainPlan | None = None,
        client: str | None = None,
    ) -> TrackResult:
        self.clients.append(client)
        self.calls.append((source, windows, spectrogram))
        if not self.ready:
            raise ModelNotReady("Model is still loading...")
        if isinstance(self.result, Exception):
            raise self.result
        if explain is None:
            return self.result
        self.plans.append(explain)
        return replace(self.result, explanations=(explanation(explain.window or 0),))

    def snapshot(self) -> ServiceSnapshot:
        if not self.ready:
            starting = (WorkerRecord(0, "starting", 7, 0, 0),)
            return snapshot("loading", "loading", "Model is still loading...", workers=starting)
        workers = (WorkerRecord(0, "idle", 7, 0, 2),)
        served = ServedModel(MODEL, "stub", self.taxonomies)
        return snapshot("ready", uptime_seconds=3700.0, workers=workers, served=served, self_test=TESTED)


def stub_app(service: StubService, settings: Settings) -> FastAPI:
    """An application with one route and the page behind it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Iterator[None]:
        async with page_attached(app, service, settings):
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(Edge, proxies=TrustedProxies(settings.trusted_proxies), keys=ApiKeys(None))
    app.add_api_route("/health", lambda: {"status": "ok"})
    return app


@contextmanager
def serving(app: FastAPI, root_path: str = "") -> Iterator[str]:
    """Serve an application in a thread, on a port chosen by the system; yield its URL."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            port=0,
            root_path=root_path,
            proxy_headers=False,  # as in `ccmusic.serving.server`
            log_level="warning",
            timeout_graceful_shutdown=5,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the server has started")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        if hasattr(app.state, "page"):
            app.state.page.end_streams()
        server.should_exit = True
        thread.join()


def wait_for_page(url: str) -> None:
    """Wait until Gradio answers at the root."""
    wait_until(lambda: "gradio_config" in httpx.get(url).text, "the page is open")
