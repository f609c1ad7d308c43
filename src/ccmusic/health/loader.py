"""Loads a model in the background and reports its state in fixed texts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from ccmusic.health.check import Check, Observation, error_text, failed, passed
from ccmusic.health.clock import CLOCK
from ccmusic.health.files import file_check

logger = logging.getLogger(__name__)

LOADING = "Model is still loading..."
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_LOOK_SECONDS = 0.5
"""Longest time between two looks at the file while a failed loading waits for its retry."""

T = TypeVar("T")
LoaderState = Literal["loading", "ready", "error"]
_FileState = tuple[int, int, int, int] | None
"""What changes when a file is replaced or written to; None if it is missing."""


class LoaderNotReady(RuntimeError):
    """The object is not loaded; the text states why."""


class Loader(Generic[T]):
    """An object that is loaded on its own thread; created by `Health.load`.

    Parameters
    ----------
    name : str
        Name of its check; the check of its file is named ``<name>_file``.
    function : callable
        Loads and returns it.
    path : Path or str, optional
        A file that must exist.
    retry_seconds : float, optional
        Pause before a failed loading is retried, doubled each time up to 30 s; without it, a failure is final. If the
        file appears or changes meanwhile, the loading is retried within `retry_seconds` of it, and the pause is short
        again.
    changed : callable
        Called when the state may have changed.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[], T],
        *,
        path: Path | str | None = None,
        retry_seconds: float | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._function = function
        self._path = path
        self._retry_seconds = retry_seconds
        self._changed = changed
        self._loaded: tuple[T] | None = None
        self._error: str | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> LoaderState:
        """``error`` after a failure, until a later loading succeeds."""
        if self._loaded is not None:
            return "ready"
        return "loading" if self._error is None else "error"

    @property
    def error(self) -> str | None:
        """Text of the last failure."""
        return self._error

    @property
    def value(self) -> T:
        """The loaded object.

        Raises
        ------
        LoaderNotReady
            It is still loading, or loading failed.
        """
        if self._loaded is None:
            raise LoaderNotReady(self._message())
        return self._loaded[0]

    def start(self) -> None:
        """Start loading. Does nothing if it runs already or is done."""
        if self._loaded is None and (self._thread is None or self._stopping.is_set()):
            self._stopping = threading.Event()
            self._thread = threading.Thread(
                target=self._load, args=(self._stopping,), name=f"health-load-{self.name}", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Stop retrying. A loading in progress continues, since a thread cannot be ended."""
        self._stopping.set()

    def checks(self, period_seconds: float) -> tuple[Check, ...]:
        """Its checks. The file comes first: a missing file is reported before the failure that it causes."""
        # A loaded model still answers correctly without its file, so the file affects only /health.
        file = () if self._path is None else (file_check(f"{self.name}_file", self._path, period_seconds),)
        affects: Any = {"health", "startupz", "readyz"}
        return (*file, Check(self.name, self._observe, affects))

    def _observe(self) -> Observation:
        state = self.state
        if state == "ready":
            return passed(state)
        cause = "still loading" if state == "loading" else f"loading failed: {self._error}"
        code = "loading" if state == "loading" else "load_failed"
        return failed(cause, state, code=code, message=self._message())

    def _message(self) -> str:
        error = self._error
        return LOADING if error is None else f"Model loading failed: {error}"

    def _load(self, stopping: threading.Event) -> None:
        pause = self._retry_seconds
        while not stopping.is_set():
            tried = self._file_state()
            try:
                loaded = self._function()
            except BaseException as error:  # also SystemExit: the thread would end and the state would stay "loading"
                text = error_text(error)
                if text != self._error:
                    logger.error("loading %s failed", self.name, exc_info=error)
                self._error = text
                self._changed()
            else:
                self._loaded = (loaded,)
                self._error = None
                self._changed()
                return
            if pause is None or self._retry_seconds is None:
                return
            if self._wait(stopping, pause, tried):
                pause = self._retry_seconds
            else:
                pause = min(2 * pause, max(LONGEST_PAUSE_SECONDS, self._retry_seconds))

    def _wait(self, stopping: threading.Event, pause: float, tried: _FileState) -> bool:
        """Wait until the retry. Returns early, and True, when another file than the one that was tried is there.

        A file that is being written changes at each look. So it must be the same at two looks in a row.
        """
        if self._path is None:
            stopping.wait(pause)
            return False
        look_seconds = min(LONGEST_LOOK_SECONDS, (self._retry_seconds or pause) / 4)
        deadline = CLOCK.now() + pause
        before = tried
        while (left := deadline - CLOCK.now()) > 0:
            if stopping.wait(min(look_seconds, left)):
                return False
            now = self._file_state()
            if now is not None and now == before != tried:
                return True
            before = now
        return False

    def _file_state(self) -> _FileState:
        if self._path is None:
            return None
        try:
            found = Path(self._path).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
