"""What the web page reports about itself. Its health check and its metrics read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PageStatus = Literal["off", "starting", "open", "failed", "absent"]


@dataclass(frozen=True, slots=True)
class PageState:
    """The state of the page.

    Attributes
    ----------
    status : {"off", "starting", "open", "failed", "absent"}
        ``off``: there is no page in this process. ``starting``: it is built for the first time. ``failed``: it does not
        work and is tried again. ``absent``: Gradio is not installed.
    cause : str
        Why it does not work; a text for people.
    code : str
        The same for programs, one of `ccmusic.monitoring.check_codes.CHECK_CODES`.
    failures : int
        How often it could not be started, or stopped working.
    """

    status: PageStatus = "off"
    cause: str = ""
    code: str = "ok"
    failures: int = 0
