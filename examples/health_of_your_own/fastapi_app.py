"""Health checks for your own FastAPI application.

Health of your own
------------------
``ccmusic.health`` needs nothing else of CCMusic. The lines between the two rulers give this application the same
endpoints as CCMusic::

    uvicorn fastapi_app:app --port 8000
    curl localhost:8000/health              503 "Model is still loading...", then 200 {"status":"ok",...}
    curl localhost:8000/readyz?verbose      [+]model ok / [+]shelf ok / readyz check passed
    curl -H 'Accept: application/health+json' localhost:8000/health
    rm model.txt; curl localhost:8000/health    503 "Model file not found: model.txt", within a second

`/startupz`, `/livez` and `/readyz` are for the three probes of Kubernetes. A request never waits for a check: threads
run the checks, and a probe reads their last results.
"""

import os
from pathlib import Path

from fastapi import FastAPI

MODEL = os.environ.get("MODEL", "model.txt")

# ----------------------------------------------------------------------------------------------------------------------
from ccmusic.health import Health, descriptor_check, failed, install, memory_check, passed  # noqa: E402

health = Health("word-counter", "1.0")
model = health.load("model", lambda: Path(MODEL).read_text(encoding="utf-8").split(), path=MODEL, retry_seconds=1)
health.add(memory_check())
health.add(descriptor_check())


@health.check("shelf", affects={"health", "readyz"}, period_seconds=0.5)
def shelf():
    return passed() if Path(MODEL).parent.is_dir() else failed("there is no shelf for models")


app = FastAPI()
install(app, health)
# ----------------------------------------------------------------------------------------------------------------------


@app.get("/count")
def count(word: str) -> int:
    return model.value.count(word)
