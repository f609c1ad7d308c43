"""Check that a required file exists."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from ccmusic.health.check import Check, Observation, failed, passed

logger = logging.getLogger(__name__)


def file_check(name: str, path: Path | str | Callable[[], Path | str | None], period_seconds: float = 0.5) -> Check:
    """Fail only ``/health`` while a file or directory is missing.

    It is observed on its own thread, because a hanging network disk would block the sampling.

    Parameters
    ----------
    name : str
    path : Path or str or callable
        As configured; the message shows it unchanged. A callable returns the current one, or None for none.
    period_seconds : float
    """
    was_missing: Path | str | None = None

    def observe() -> Observation:
        nonlocal was_missing
        wanted = path() if callable(path) else path
        if wanted is None:
            return passed()
        try:
            Path(wanted).stat()
        except (FileNotFoundError, NotADirectoryError):
            if was_missing != wanted:
                logger.error("not found: %s, absolute %s, seen from %s", wanted, Path(wanted).absolute(), Path.cwd())
            was_missing = wanted
            return failed(f"not found: {wanted}", code="file_missing", message=f"Model file not found: {wanted}")
        was_missing = None
        return passed()

    return Check(name, observe, measurement="present", period_seconds=period_seconds)
