"""Limits on explanations in the service."""

import asyncio
from contextlib import suppress

import httpx

from ccmusic.errors import EmptyAudio
from ccmusic.inference.occlusion import ExplainPlan
from ccmusic.serving.app import create_app
from ccmusic.serving.service import Service
from ccmusic.workers.supervisor_state import SupervisorState
from support.recordings import tone, wav

RECORDING = wav(tone(440, 1.0))


def test_explanations_can_be_turned_off(make_settings):
    async def ask() -> httpx.Response:
        app = create_app(make_settings(explain_windows=0))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            headers = {"Content-Type": "audio/wav"}
            return await client.post("/v1/classify?explain=true", content=RECORDING, headers=headers)

    answer = asyncio.run(ask())
    assert answer.status_code == 422
    assert answer.json()["parameter"] == "explain"
    assert "CCMUSIC_EXPLAIN_WINDOWS" in answer.json()["detail"]


def test_what_is_explained_is_the_requested_taxonomy_and_level(make_settings, monkeypatch):
    plans = []

    async def classify(_, source, *, windows, explain):
        plans.append(explain)
        raise EmptyAudio("enough")

    async def ask() -> None:
        app = create_app(make_settings())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            headers = {"Content-Type": "audio/wav"}
            for query in ("explain=true&taxonomy=world&level=16", "explain=true", "taxonomy=world"):
                await client.post(f"/v1/classify?{query}", content=RECORDING, headers=headers)

    monkeypatch.setattr(Service, "classify", classify)
    asyncio.run(ask())
    most = make_settings().explain_windows
    assert plans == [ExplainPlan(windows=most, taxonomy="world", level=16), ExplainPlan(windows=most), None]


def test_a_job_explains_at_most_the_allowed_number_of_windows(make_settings):
    class Submitted(Exception):
        """Ends the call after the job is recorded."""

    jobs = []

    class StubSupervisor:
        state = SupervisorState

        def submit(self, job):
            jobs.append(job)
            raise Submitted

    service = Service(make_settings(explain_windows=2), supervisor=StubSupervisor())
    for requested in (1, 50):
        with suppress(Submitted):
            asyncio.run(service.classify(RECORDING, explain=ExplainPlan(windows=requested)))
    assert [job.explain.windows for job in jobs] == [1, 2]
