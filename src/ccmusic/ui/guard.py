"""Close the ways into Gradio that are open when it is mounted into another application.

Found in Gradio 6.31; ``tests/ui/test_guard.py`` tries each of them.
"""

from __future__ import annotations

import logging
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils, queueing, route_utils, routes
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException

LONGEST_PATH = 1024
"""The longest path of the page is that of an upload, whose name Gradio cuts to 200 bytes."""

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.02
"""How often Gradio's queue polls for work. Its default of 1 ms costs about 5 % of a core while the page is idle."""

# The paths that the page and the client library use. All others are closed: the start-up trigger, monitoring, fetching
# of other addresses (`proxy=`, `file=http`), saved sessions, code editing, profiling.
_ALLOWED = re.compile(
    r"""
      /
    | /(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?
    | /(assets|static|svelte)/.+
    | /gradio_api/(info|app_id|theme\.css|upload|upload_progress|cancel|reset|openapi\.json|queue/(join|data|status))/?
    | /gradio_api/(heartbeat|call|run|api)/.+
    | /gradio_api/file=(?!\w[\w+.-]*:/).+
    """,
    re.VERBOSE,
)


def is_allowed(path: str) -> bool:
    """Whether a request to this path is passed to Gradio."""
    return len(path) <= LONGEST_PATH and path.isprintable() and _ALLOWED.fullmatch(path) is not None


def harden(page: gr.Blocks) -> None:
    """Close what can only be closed inside Gradio. Call it after the page is mounted.

    Parameters
    ----------
    page : gr.Blocks
    """
    # Only `launch()` sets this. Without it, a client can name any file of this machine as its upload, and read it.
    page.has_launched = True
    # The path of an upload is hash(seed + content)/name. Gradio stores the seed in its package: the same in every
    # container of an image.
    processing_utils.hash_seed = secrets.token_bytes(32)
    # A client may send a URL in place of a file; the server would download it, without a size limit.
    processing_utils.async_ssrf_protected_download = _refuse_address
    route_utils.GradioMultiPartParser = UploadParser
    for module in (queueing, route_utils, routes):
        module.traceback = _LoggedTraceback
    page._queue.sleep_when_free = POLL_SECONDS
    page._queue.progress_update_sleep_when_free = 5 * POLL_SECONDS


class _LoggedTraceback:
    """In place of the module `traceback`: what Gradio would print goes to the log, where each error is one line."""

    @staticmethod
    def print_exc() -> None:
        logger.exception("the page failed")


class UploadParser(route_utils.GradioMultiPartParser):  # type: ignore[misc]
    """Gradio's parser of uploads: one file, no other fields, and no file left behind, whatever ends it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"max_files": 1, "max_fields": 0})

    async def parse(self) -> FormData:
        """The form. Its file stays if everything is right."""
        form: FormData | None = None
        try:
            form = await super().parse()
        except (ValueError, LookupError, AttributeError) as error:
            raise MultiPartException("The form cannot be read.") from error
        finally:  # Gradio deletes them only if the form itself is wrong, not if its client is gone
            if form is None or [name for name, _ in form.multi_items()] != ["files"]:
                form = FormData()
                self._discard()
        return form

    def _discard(self) -> None:
        for file in self._files_to_close_on_error:
            file.close()
            with suppress(OSError):
                Path(file.name).unlink()


async def _refuse_address(url: str, cache_dir: str) -> str:
    raise gr.Error("Send the recording itself, not its URL.", print_exception=False)
