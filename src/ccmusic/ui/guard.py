"""Close the ways into Gradio that are open when it is mounted into another application.

Found in Gradio 6.31; ``tests/ui/test_guard.py`` tries each of them.
"""

from __future__ import annotations

import re
import secrets

import gradio as gr
from gradio import processing_utils

POLL_SECONDS = 0.02
"""How often Gradio's queue polls for work. Its default of 1 ms costs about 5 % of a core while the page is idle."""

# The paths that the page and the client library use. All others are closed: the start-up trigger, monitoring, fetching
# of other addresses (`proxy=`, `file=http`), saved sessions, code editing, profiling.
_ALLOWED = re.compile(
    r"""
      /
    | /(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?
    | /(assets|static|svelte)/.+
    | /pwa_icon(/\d+)?
    | /gradio_api/(info|app_id|theme\.css|upload|upload_progress|cancel|reset|openapi\.json|queue/(join|data|status))/?
    | /gradio_api/(heartbeat|call|run|api)/.+
    | /gradio_api/file=(?!\w[\w+.-]*:/).+
    """,
    re.VERBOSE,
)


def is_allowed(path: str) -> bool:
    """Whether a request to this path is passed to Gradio."""
    return _ALLOWED.fullmatch(path) is not None


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
    page._queue.sleep_when_free = POLL_SECONDS
    page._queue.progress_update_sleep_when_free = 5 * POLL_SECONDS


async def _refuse_address(url: str, cache_dir: str) -> str:
    raise gr.Error("Send the recording itself, not its URL.", print_exception=False)
