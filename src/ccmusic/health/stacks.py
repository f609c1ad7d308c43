"""The current stack of a thread, read from another thread."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

FRAMES = 60


@dataclass(frozen=True, slots=True)
class Stack:
    """The current stack of a thread.

    Attributes
    ----------
    innermost : str
        ``file.py:line in function``.
    text : str
        The innermost frames, outermost first.
    """

    innermost: str
    text: str


def stack_of(thread_id: int | None) -> Stack | None:
    """Stack of a thread by its ``ident``; None if there is no such thread."""
    frame = sys._current_frames().get(thread_id) if thread_id is not None else None
    if frame is None:
        return None
    frames = traceback.extract_stack(frame, limit=FRAMES)
    last = frames[-1]
    return Stack(f"{Path(last.filename).name}:{last.lineno} in {last.name}", "".join(frames.format()))
