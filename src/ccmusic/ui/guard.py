"""Doors that Gradio leaves open when it is mounted into another application, closed.

Found in Gradio 6.31; ``tests/ui/test_guard.py`` tries each of them.
"""

from __future__ import annotations

import re
import secrets

import gradio as gr
from gradio import processing_utils

POLL_SECONDS = 0.02
"""How often Gradio's queue looks for work. Its own 1 ms costs about 5 % of a core for a page that nobody uses."""

# What the page and the client library ask for. Everything else of Gradio's is closed: its start-up trigger, monitoring,
# the fetching of foreign addresses (`proxy=`, `file=http`), saved sessions, code editing, profiling.
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
    """Whether a path may reach Gradio."""
    return _ALLOWED.fullmatch(path) is not None


def harden(page: gr.Blocks) -> None:
    """Close what can only be closed from within; call it after the page is mounted.

    Parameters
    ----------
    page : gr.Blocks
    """
    # Only `launch()` sets this. Without it a client may name any file of this machine as its upload, and read it back.
    page.has_launched = True
    # Uploads lie at hash(seed + content)/name. Gradio keeps the seed in its own package, so an image would bake it in.
    processing_utils.hash_seed = secrets.token_bytes(32)
    # A client may send an address in place of a file; the server would fetch it, whatever its size.
    processing_utils.async_ssrf_protected_download = _refuse_address
    page._queue.sleep_when_free = POLL_SECONDS
    page._queue.progress_update_sleep_when_free = 5 * POLL_SECONDS


async def _refuse_address(url: str, cache_dir: str) -> str:
    raise gr.Error("Send the recording itself, not the address of one.", print_exception=False)
