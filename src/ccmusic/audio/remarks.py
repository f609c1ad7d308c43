"""Keeps out of the log what decoders print: libmpg123 writes remarks to standard error that name no recording."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

STANDARD_ERROR = 2


@contextmanager
def without_remarks() -> Iterator[None]:
    """Discard what this process writes to standard error.

    The descriptor belongs to the whole process, so the lines of other threads are lost too: this is for processes that
    only decode meanwhile.
    """
    kept = os.dup(STANDARD_ERROR)
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, STANDARD_ERROR)
        os.close(null)
        yield
    finally:
        os.dup2(kept, STANDARD_ERROR)
        os.close(kept)
