"""Attaching the page to a running server."""

import asyncio
import fcntl
import importlib.util
import os
import threading

import httpx
import pytest

from ccmusic.settings import Settings
from ccmusic.ui import mount
from support.waiting import wait_until
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


def test_without_gradio_the_root_states_that_there_is_no_page(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "gradio" else find_spec(name, *a))
    with serving(stub_app(StubService(), Settings())) as url:
        wait_until(lambda: "refresh" not in httpx.get(url).text, "the waiting page has changed")
        root = httpx.get(url)
        assert root.status_code == 200
        assert "not installed" in root.text
        assert 'href="docs"' in root.text
        assert 'href="health"' in root.text
        assert httpx.get(f"{url}/health").status_code == 200


def test_the_service_works_if_the_page_cannot_be_built(monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("a reason")

    monkeypatch.setattr(mount, "_build", broken)
    with serving(stub_app(StubService(), Settings())) as url:
        wait_until(lambda: httpx.get(url).status_code == 503, "the waiting page has changed")
        assert "could not be started" in httpx.get(url).text
        assert "a reason" not in httpx.get(url).text
        assert httpx.get(f"{url}/health").status_code == 200
    assert "a reason" in caplog.text


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
            with httpx.stream("GET", f"{url}/gradio_api/heartbeat/tab", timeout=60) as stream:
                for _ in stream.iter_bytes():
                    alive.set()
            ended.set()

        thread = threading.Thread(target=listen)
        thread.start()
        alive.wait(30)
        app.state.page.end_streams()
        assert ended.wait(30)
        thread.join()


def test_uploads_are_deleted_at_the_end_and_those_of_killed_processes_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    left = tmp_path / f"{mount.UPLOADS_PREFIX}left"
    left.mkdir()
    (left / "recording.wav").touch()
    in_use = tmp_path / f"{mount.UPLOADS_PREFIX}used"
    in_use.mkdir()
    strange = tmp_path / "other"
    strange.mkdir()
    owner = os.open(in_use, os.O_RDONLY)
    fcntl.flock(owner, fcntl.LOCK_EX)
    try:
        with mount._upload_directory() as uploads:
            assert uploads.parent == tmp_path
            assert os.environ["GRADIO_TEMP_DIR"] == str(uploads)
            assert uploads.stat().st_mode & 0o777 == 0o700
            assert not left.exists()
            assert in_use.exists()
        assert not uploads.exists()
        assert sorted(tmp_path.iterdir()) == sorted([in_use, strange])
        assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)
    finally:
        os.close(owner)


def test_the_page_knows_its_root_behind_a_path_prefix():
    with serving(stub_app(StubService(), Settings(root_path="/music")), root_path="/music") as url:
        wait_for_page(url)
        config = httpx.get(f"{url}/config", headers={"x-forwarded-host": "example.org"}).json()
        assert config["root"] == "http://example.org/music"
        assert httpx.get(f"{url}/gradio_api/startup-events").status_code == 404
        assert httpx.get(f"{url}/health").status_code == 200


def test_the_waiting_pages_have_no_external_resources():
    for html in (mount.STARTING_PAGE, mount.ABSENT_PAGE, mount.FAILED_PAGE):
        assert "http:" not in html
        assert "https:" not in html
        assert "src=" not in html


def test_other_protocols_are_refused():
    from starlette.exceptions import HTTPException

    with pytest.raises(HTTPException):
        asyncio.run(mount.PageSlot()({"type": "websocket"}, None, None))
