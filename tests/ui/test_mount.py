"""Attaching the page to a running server, and keeping it working."""

import asyncio
import importlib.util
import shutil
import tempfile
import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from ccmusic.settings import Settings
from ccmusic.ui import mount, waiting
from ccmusic.ui.upload_directory import PREFIX
from support.waiting import PATIENCE_SECONDS, wait_until
from ui.stub_service import StubService, serving, stub_app, wait_for_page


@pytest.fixture
def delayed_build(monkeypatch):
    """An event; the page is not built before it is set."""
    build_now = threading.Event()
    build = mount._build

    def delayed(*arguments):
        build_now.wait()
        return build(*arguments)

    monkeypatch.setattr(mount, "_build", delayed)
    yield build_now
    build_now.set()


@pytest.fixture
def short_pauses(monkeypatch):
    monkeypatch.setattr(mount, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(mount, "LONGEST_RETRY_SECONDS", 0.01)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A directory that only the page uses for temporary files."""
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_server_answers_before_the_page_is_built(delayed_build):
    with serving(stub_app(StubService(), Settings())) as url:
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}
        waiting = httpx.get(url)
        assert waiting.status_code == 200
        assert waiting.headers["cache-control"] == "no-store"
        assert 'http-equiv="refresh"' in waiting.text
        assert "页面正在启动" in waiting.text
        assert httpx.head(url).status_code == 200
        early = httpx.get(f"{url}/config")
        assert (early.status_code, early.headers["retry-after"]) == (503, "2")
        assert httpx.get(f"{url}/nothing").status_code == 404
        delayed_build.set()
        wait_for_page(url)
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}


@pytest.mark.parametrize(("settings", "status"), [(Settings(), 200), (Settings(page=True), 503)])
def test_without_gradio_the_root_states_that_there_is_no_page(monkeypatch, settings, status):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "gradio" else find_spec(name, *a))
    service = StubService()
    with serving(stub_app(service, settings)) as url:
        wait_until(lambda: "refresh" not in httpx.get(url).text, "the waiting page has changed")
        root = httpx.get(url)
        assert root.status_code == status
        assert "not installed" in root.text
        assert 'href="docs"' in root.text
        assert 'href="health"' in root.text
        assert httpx.get(f"{url}/health").status_code == 200
    assert [state.status for state in service.page_states[:2]] == ["starting", "absent"]
    assert service.page_states[1].cause == mount.ABSENT
    assert service.page_states[1].failures == 0


def test_a_page_that_cannot_be_built_is_reported_and_built_again(monkeypatch, caplog, short_pauses):
    build, works = mount._build, threading.Event()

    def broken(*arguments):
        if not works.is_set():
            raise RuntimeError("a reason")
        return build(*arguments)

    monkeypatch.setattr(mount, "_build", broken)
    service = StubService()
    with serving(stub_app(service, Settings())) as url:
        wait_until(lambda: service.page_states[-1].failures >= 3, "it was tried again")
        failed = httpx.get(url)
        assert failed.status_code == 503
        assert "being started again" in failed.text
        assert "a reason" not in failed.text
        assert httpx.get(f"{url}/health").status_code == 200
        state = service.page_states[-1]
        assert (state.status, state.code) == ("failed", "page_failed")
        assert state.cause == "it could not be started: a reason"
        works.set()
        wait_for_page(url)
        assert service.page_states[-1].status == "open"
    assert caplog.text.count("RuntimeError: a reason") == 1, "the same failure is logged once"
    statuses = [state.status for state in service.page_states]
    assert statuses == ["starting", *["failed"] * (len(statuses) - 2), "open"]


def test_a_page_whose_directory_cannot_be_created_is_reported(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file" / "uploads"))
    service = StubService()
    with serving(stub_app(service, Settings(page_check_seconds=0.01))) as url:
        wait_until(lambda: httpx.get(url).status_code == 503, "it was noticed")
        state = service.page_states[-1]
        assert (state.status, state.code) == ("failed", "not_writable")
        assert state.cause.startswith("its upload directory cannot be created: Not a directory (ENOTDIR): ")
        (tmp_path / "file").unlink()
        wait_for_page(url)
        assert [state.status for state in service.page_states] == ["starting", "failed", "open"]
        assert service.page_states[-1].failures == 1


def test_a_directory_that_is_swept_away_is_reported_and_replaced(temporary, short_pauses):
    service = StubService()
    with serving(stub_app(service, Settings(page_check_seconds=0.01))) as url:
        wait_for_page(url)
        [before] = temporary.glob(f"{PREFIX}*")
        shutil.rmtree(before, ignore_errors=True)  # the page deletes the rest itself, perhaps at the same time
        wait_until(lambda: service.page_states[-1].failures == 1, "it was noticed")
        wait_until(lambda: service.page_states[-1].status == "open", "it was replaced")
        wait_for_page(url)
        [after] = temporary.glob(f"{PREFIX}*")
        assert after != before
        assert httpx.post(f"{url}/gradio_api/upload", files={"files": ("a.wav", b"RIFF")}).status_code == 200
        assert [state.status for state in service.page_states] == ["starting", "open", "failed", "open"]
        assert service.page_states[2].cause.startswith("its upload directory is lost: ")
        assert str(before) in service.page_states[2].cause
    assert list(temporary.iterdir()) == []


def test_a_full_disk_is_reported_and_the_page_stays(monkeypatch, temporary, short_pauses):
    full = threading.Event()
    check = mount.UploadDirectory.check

    def checked(uploads):
        if full.is_set():
            raise OSError(28, "No space left on device")
        check(uploads)

    monkeypatch.setattr(mount.UploadDirectory, "check", checked)
    service = StubService()
    with serving(stub_app(service, Settings(page_check_seconds=0.01))) as url:
        wait_for_page(url)
        [before] = temporary.glob(f"{PREFIX}*")
        full.set()
        wait_until(lambda: service.page_states[-1].status == "failed", "it was noticed")
        assert httpx.get(url).status_code == 200
        full.clear()
        wait_until(lambda: service.page_states[-1].status == "open", "it has recovered")
        assert [state.status for state in service.page_states] == ["starting", "open", "failed", "open"]
        assert [before] == list(temporary.glob(f"{PREFIX}*"))


def test_a_slow_start_is_reported_and_continues(monkeypatch, delayed_build):
    monkeypatch.setattr(waiting, "TICK_SECONDS", 0.01)
    service = StubService()
    with serving(stub_app(service, Settings(page_start_seconds=0.01))) as url:
        wait_until(lambda: service.page_states[-1].status == "failed", "it was noticed")
        assert service.page_states[-1].cause == "it has not started within 0.01 seconds"
        assert service.page_states[-1].code == "stuck"
        delayed_build.set()
        wait_for_page(url)
        assert service.page_states[-1].status == "open"


@pytest.fixture
def stuck_in(monkeypatch, temporary):
    """Makes a part of the page hang until the test has ended."""
    go = threading.Event()
    ended = asyncio.Event()

    def blocks():
        return SimpleNamespace(temp_file_sets=[], close=lambda verbose: None)

    @asynccontextmanager
    async def hanging(_):
        yield
        await ended.wait()

    def stick(part):
        outer = SimpleNamespace(router=SimpleNamespace(lifespan_context=hanging))
        gradio = SimpleNamespace(stop_event=asyncio.Event(), get_blocks=blocks)
        build = {"build": lambda *_: go.wait(), "end": lambda *_: (outer, gradio)}[part]
        monkeypatch.setattr(mount, "_build", build)

    yield stick
    go.set()


@pytest.mark.parametrize("part", ["build", "end"])
def test_the_server_ends_although_gradio_does_not(stuck_in, caplog, monkeypatch, part):
    monkeypatch.setattr(waiting, "TICK_SECONDS", 0.01)
    stuck_in(part)
    service = StubService()

    async def main():
        app = FastAPI()
        async with mount.page_attached(app, service, Settings(page_stop_seconds=0.05)) as slot:
            for _ in range(round(100 * PATIENCE_SECONDS)):
                await asyncio.sleep(0.01)
                if part == "build" or slot.is_open.is_set():
                    break
        return app.router.default

    thread = threading.Thread(target=asyncio.run, args=[main()], daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert "the page has not ended within 0.05 s" in caplog.text


def test_gradio_starts_once_and_ends_with_the_server(monkeypatch):
    from gradio.blocks import Blocks

    starts = []
    start = Blocks.run_startup_events
    monkeypatch.setattr(Blocks, "run_startup_events", lambda blocks: (starts.append(blocks), start(blocks)))
    app = stub_app(StubService(), Settings())
    with serving(app) as url:
        wait_for_page(url)
        httpx.get(f"{url}/gradio_api/startup-events")
    [blocks] = starts
    assert not blocks.is_running
    assert blocks._queue.stopped
    assert not app.state.page.is_open.is_set()


def test_open_tabs_do_not_delay_the_shutdown():
    app = stub_app(StubService(), Settings())
    with serving(app) as url:
        wait_for_page(url)
        ended = threading.Event()
        alive = threading.Event()

        def listen():
            with httpx.stream("GET", f"{url}/gradio_api/heartbeat/tab", timeout=PATIENCE_SECONDS) as stream:
                for _ in stream.iter_bytes():
                    alive.set()
            ended.set()

        thread = threading.Thread(target=listen)
        thread.start()
        alive.wait(PATIENCE_SECONDS)
        app.state.page.end_streams()
        assert ended.wait(PATIENCE_SECONDS)
        thread.join()


def test_the_page_knows_its_root_behind_a_path_prefix():
    settings = Settings(root_path="/music", trusted_proxies="127.0.0.1")
    with serving(stub_app(StubService(), settings), root_path="/music") as url:
        wait_for_page(url)
        config = httpx.get(f"{url}/config", headers={"x-forwarded-host": "example.org"}).json()
        assert config["root"] == "http://example.org/music"
        assert httpx.get(f"{url}/gradio_api/startup-events").status_code == 404
        assert httpx.get(f"{url}/health").status_code == 200
