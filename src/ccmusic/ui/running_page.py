"""A page that Gradio runs: its start, the checks that it still works, and its end."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from ccmusic.ui.upload_directory import DirectoryLost, UploadDirectory
from ccmusic.ui.waiting import ends_within, in_thread

STUCK_SECONDS = 10.0
"""A check that takes longer counts as a failure."""
ANSWER_EVERY = 15
"""One check in so many requests the page itself, which costs the event loop about 10 ms."""

GRADIO_TASKS = frozenset(
    {
        "Queue.start_processing",  # passes clicks to their functions
        "Queue.start_progress_updates",
        "delete_files_on_schedule",  # deletes old uploads
        "_delete_state",
    }
)
"""Tasks that Gradio starts with the page and never looks at again."""


class PageFailed(RuntimeError):
    """The page does not work.

    Parameters
    ----------
    cause : str
        For people.
    code : str
        One of `ccmusic.monitoring.check_codes.CHECK_CODES`.
    """

    def __init__(self, cause: str, *, code: str) -> None:
        super().__init__(cause)
        self.code = code


class RunningPage:
    """A page between Gradio's start and its end.

    Parameters
    ----------
    gradio_app
        Gradio's application, built.
    uploads : UploadDirectory
    tasks : set of asyncio.Task
        Those of Gradio.
    """

    def __init__(self, gradio_app: Any, uploads: UploadDirectory, tasks: set[asyncio.Task[Any]]) -> None:
        self.gradio_app = gradio_app
        self._uploads = uploads
        self._tasks = tasks
        self._count = 0
        self._writing: asyncio.Future[None] | None = None

    async def problem(self) -> PageFailed | None:
        """What does not work at present, but may work again without a new page.

        Raises
        ------
        PageFailed
            Only a new page helps.
        """
        for task in self._tasks:
            if task.done():
                raise PageFailed(f"Gradio's task {_name(task)} has ended{_why(task)}", code="page_failed")
        self._count += 1
        if self._count % ANSWER_EVERY == 0:
            await self._request()
        return await self._directory_problem()

    async def _directory_problem(self) -> PageFailed | None:
        writing = self._writing or in_thread(self._uploads.check)
        if not await ends_within(writing, STUCK_SECONDS):
            self._writing = writing  # a second thread would be stuck too
            return PageFailed("its upload directory does not respond", code="stuck")
        self._writing = None
        error = writing.exception()
        if isinstance(error, DirectoryLost):
            raise PageFailed(f"its upload directory is lost: {os_error_text(error)}", code="not_writable")
        if isinstance(error, OSError):
            return PageFailed(f"its upload directory cannot be written to: {os_error_text(error)}", code="not_writable")
        if error is not None:
            raise error
        return None

    async def _request(self) -> None:
        answer = asyncio.ensure_future(_get_root(self.gradio_app))
        if not await ends_within(answer, STUCK_SECONDS):
            answer.cancel()
            raise PageFailed("it does not answer", code="stuck")
        if (error := answer.exception()) is not None:
            raise PageFailed(f"it answers with an error: {error or type(error).__name__}", code="page_failed")
        status, body = answer.result()
        if status != 200 or b"gradio_config" not in body:
            raise PageFailed(f"it answers with status {status} and {len(body)} bytes", code="page_failed")


@asynccontextmanager
async def running(outer: FastAPI, gradio_app: Any, uploads: UploadDirectory) -> AsyncIterator[RunningPage]:
    """Run Gradio's start-up and shutdown around the page.

    The lifespan of the application has already started, so Gradio's runs here, in an application of its own.

    Parameters
    ----------
    outer : FastAPI
        The application that Gradio's is mounted into.
    gradio_app
        Gradio's application.
    uploads : UploadDirectory
    """
    before = asyncio.all_tasks()
    async with outer.router.lifespan_context(outer):
        started = asyncio.all_tasks() - before
        tasks = {task for task in started if _name(task) in GRADIO_TASKS}
        gradio_app.startup_events_triggered = True
        try:
            yield RunningPage(gradio_app, uploads, tasks)
        finally:
            gradio_app.stop_event.set()  # ends the event streams of open browser tabs
            blocks = gradio_app.get_blocks()
            blocks.close(verbose=False)
            # Gradio would delete these files one by one on the event loop, and a disk may hang. Their directory is
            # deleted as a whole, on a thread.
            blocks.temp_file_sets.clear()


def os_error_text(error: OSError) -> str:
    """The cause, its name and the path."""
    name = errno.errorcode.get(error.errno or 0, "")
    text = f"{error.strerror} ({name})" if name else str(error)
    return f"{text}: {error.filename}" if error.filename else text


def _name(task: asyncio.Task[Any]) -> str:
    """The qualified name of the function that the task runs."""
    return str(getattr(task.get_coro(), "__qualname__", ""))


def _why(task: asyncio.Task[Any]) -> str:
    error = None if task.cancelled() else task.exception()
    return "" if error is None else f": {error or type(error).__name__}"


async def _get_root(gradio_app: Any) -> tuple[int, bytes]:
    """``GET /`` of an ASGI application: the status and the body."""
    status, body = 0, bytearray()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            body.extend(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 0),
        "server": ("localhost", 80),
    }
    await gradio_app(scope, receive, send)
    return status, bytes(body)
