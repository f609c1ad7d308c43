"""Times the stages of the pipeline and reports their begin."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _ignore(_: str) -> None:
    """Only a worker process needs the stages."""


class StageTimer:
    """The stages of one recording.

    Parameters
    ----------
    on_stage : callable
        Called with the name of each stage when it begins.

    Attributes
    ----------
    seconds : dict of str to float
        Time taken so far, by stage.
    """

    def __init__(self, on_stage: Callable[[str], object] = _ignore) -> None:
        self.on_stage = on_stage
        self.seconds: dict[str, float] = {}
        self._current = ""

    def begin(self, stage: str) -> None:
        """Report a stage, unless it is the current one: a further batch must not reset the age of its stage."""
        if stage != self._current:
            self._current = stage
            self.on_stage(stage)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Begin a stage and add the time that the block takes."""
        self.begin(stage)
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
