"""The checks of a page that Gradio runs."""

from __future__ import annotations

import asyncio
import errno
import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from starlette.responses import HTMLResponse

from ccmusic.ui import running_page
from ccmusic.ui.running_page import GRADIO_TASKS, PageFailed, RunningPage, os_error_text, running
from ccmusic.ui.upload_directory import DirectoryLost

GOOD = HTMLResponse("<script>window.gradio_config = {}</script>")


class Uploads:
    """An upload directory whose check raises `error`, after `go` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.go = threading.Event()
        self.go.set()
        self.checks = 0

    def check(self) -> None:
        self.checks += 1
        self.go.wait()
        if self.error is not None:
            raise self.error


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(running_page, "STUCK_SECONDS", 0.01)


def problems(uploads, *, app=GOOD, tasks=(), n_checks=1):
    """What `n_checks` checks return; the last one may raise."""

    async def main():
        page = RunningPage(app, uploads, set(tasks))
        return [await page.problem() for _ in range(n_checks)]

    return asyncio.run(main())


def test_a_page_that_works_has_no_problem(monkeypatch):
    monkeypatch.setattr(running_page, "STUCK_SECONDS", 30)
    assert problems(Uploads(), n_checks=2 * running_page.ANSWER_EVERY) == [None] * (2 * running_page.ANSWER_EVERY)


def test_a_directory_that_cannot_be_written_to_is_a_problem_and_no_reason_for_a_new_page(monkeypatch):
    monkeypatch.setattr(running_page, "STUCK_SECONDS", 30)
    uploads = Uploads(OSError(errno.ENOSPC, "No space left on device", "/tmp/u"))
    [problem] = problems(uploads)
    assert str(problem) == "its upload directory cannot be written to: No space left on device (ENOSPC): /tmp/u"
    assert problem.code == "not_writable"


def test_a_lost_directory_needs_a_new_page(monkeypatch):
    monkeypatch.setattr(running_page, "STUCK_SECONDS", 30)
    with pytest.raises(PageFailed, match=r"is lost: it was removed \(ENOENT\): /tmp/u") as caught:
        problems(Uploads(DirectoryLost(errno.ENOENT, "it was removed", "/tmp/u")))
    assert caught.value.code == "not_writable"


def test_another_error_of_the_check_is_not_hidden(monkeypatch):
    monkeypatch.setattr(running_page, "STUCK_SECONDS", 30)
    with pytest.raises(ZeroDivisionError):
        problems(Uploads(ZeroDivisionError()))


def test_a_directory_that_does_not_respond_is_waited_for_with_one_thread():
    uploads = Uploads()
    uploads.go.clear()

    async def main():
        page = RunningPage(GOOD, uploads, set())
        found = [await page.problem() for _ in range(3)]
        uploads.go.set()
        running_page.STUCK_SECONDS = 30
        return [*found, await page.problem()]

    *stuck, last = asyncio.run(main())
    assert [(str(problem), problem.code) for problem in stuck] == [
        ("its upload directory does not respond", "stuck")
    ] * 3
    assert last is None
    assert uploads.checks == 1


async def broken(scope, receive, send):
    raise RuntimeError("no template")


async def silent(scope, receive, send):
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("app", "limit", "cause"),
    [
        (broken, 30, "it answers with an error: no template"),
        (HTMLResponse("oops", 500), 30, "it answers with status 500 and 4 bytes"),
        (HTMLResponse("hello"), 30, "it answers with status 200 and 5 bytes"),
        (silent, 0.01, "it does not answer"),
    ],
    ids=["error", "status", "another page", "silent"],
)
def test_a_page_that_does_not_answer_needs_a_new_one(monkeypatch, app, limit, cause):
    monkeypatch.setattr(running_page, "STUCK_SECONDS", limit)
    monkeypatch.setattr(running_page, "ANSWER_EVERY", 1)
    with pytest.raises(PageFailed) as caught:
        problems(Uploads(), app=app)
    assert str(caught.value) == cause


def test_a_page_whose_task_has_ended_needs_a_new_one():
    async def start_processing():
        raise RuntimeError("no thread")

    async def main():
        task = asyncio.create_task(start_processing())
        await asyncio.wait({task})
        await RunningPage(GOOD, Uploads(), {task}).problem()

    with pytest.raises(PageFailed, match=r"Gradio's task .*start_processing has ended: no thread"):
        asyncio.run(main())


def test_the_tasks_of_gradio_are_watched_and_its_end_touches_no_file():
    from gradio import Blocks, Textbox
    from gradio.routes import App

    async def main():
        with Blocks(analytics_enabled=False, delete_cache=(60, 60)) as blocks:
            Textbox()
        blocks.temp_file_sets.append({"/a/hanging/disk"})
        app = App.create_app(blocks)

        @asynccontextmanager
        async def lifespan(_):
            async with app.router.lifespan_context(app):
                blocks.run_startup_events()
                yield

        outer = SimpleNamespace(router=SimpleNamespace(lifespan_context=lifespan))
        async with running(outer, app, Uploads()) as page:
            names = {running_page._name(task) for task in page._tasks}
            assert not app.stop_event.is_set()
        assert app.stop_event.is_set()
        assert not blocks.is_running
        assert blocks.temp_file_sets == []
        return names

    assert asyncio.run(main()) == GRADIO_TASKS


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.EROFS, "Read-only file system", "/u"), "Read-only file system (EROFS): /u"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files (EMFILE)"),
        (OSError("a reason"), "a reason"),
    ],
)
def test_the_text_of_an_error_has_cause_name_and_path(error, text):
    assert os_error_text(error) == text
