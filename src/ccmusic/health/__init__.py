"""Health checks for any FastAPI, Starlette or Gradio application. Needs nothing else of ccmusic.

::

    from fastapi import FastAPI
    from ccmusic.health import Health, disk_check, failed, install, memory_check, passed

    health = Health("my-app", "1.0")
    model = health.load("model", load_my_model, path="model.bin", retry_seconds=1)
    health.add(memory_check())
    health.add(disk_check("/var/lib/my-app"))

    @health.check("database", affects={"health", "readyz"}, period_seconds=5)
    def database():
        return passed() if connection.ping() else failed("does not answer")

    app = FastAPI()
    install(app, health)  # /health, /startupz, /livez, /readyz

Threads run the checks, never a request: a probe reads the last snapshot, and a snapshot that is too old fails.
A check fails if it raises or returns `failed`; it passes if it returns `passed` or None. ``model.value`` is the loaded
object. Call ``health.drain()`` on SIGTERM. In Gradio: ``demo.launch(app_kwargs=app_kwargs(health))``.
`HealthServer` answers on its own port, even while the application's event loop is blocked.
"""

from ccmusic.health.addresses import CannotListen
from ccmusic.health.check import Check, CheckResult, Observation, Probe, Status, failed, passed, warned
from ccmusic.health.disk import DiskSpace, DiskUse, disk_check
from ccmusic.health.files import file_check
from ccmusic.health.formats import health_json, plain, verbose
from ccmusic.health.listen import listen
from ccmusic.health.loader import Loader, LoaderNotReady
from ccmusic.health.loop import LoopWatch
from ccmusic.health.probes import app_kwargs, install, lifespan, routes
from ccmusic.health.server import HealthServer
from ccmusic.health.state import Health, HealthSnapshot
from ccmusic.health.system import (
    dependency_check,
    descriptor_check,
    gpu_memory_check,
    memory_check,
)

__all__ = [
    "CannotListen",
    "Check",
    "CheckResult",
    "DiskSpace",
    "DiskUse",
    "Health",
    "HealthServer",
    "HealthSnapshot",
    "Loader",
    "LoaderNotReady",
    "LoopWatch",
    "Observation",
    "Probe",
    "Status",
    "app_kwargs",
    "dependency_check",
    "descriptor_check",
    "disk_check",
    "failed",
    "file_check",
    "gpu_memory_check",
    "health_json",
    "install",
    "lifespan",
    "listen",
    "memory_check",
    "passed",
    "plain",
    "routes",
    "verbose",
    "warned",
]
