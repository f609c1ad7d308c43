"""The pause between two processes of a slot. After a failed load it ends early when the model's files have changed."""

from __future__ import annotations

from multiprocessing.connection import wait
from typing import Literal

from ccmusic.health.clock import CLOCK
from ccmusic.workers.roster import Roster
from ccmusic.workers.wakeup import Wakeup

After = Literal["a failed load", "work", "a failed start"]
"""What came before the pause. After work, a recording may have ended the process, and other recordings wait. After a
failed start, room for a process may return at any moment."""

FIRST_PAUSE_SECONDS = 0.1
"""Pause before the second replacement in a row; the first replacement starts at once."""
MAX_PAUSE_SECONDS: dict[After, float] = {"a failed load": 30.0, "work": 1.0, "a failed start": 2.0}
CHANGED_FILE_SECONDS = 0.25
"""Period of the check whether the model's files have changed since a failed load."""


class RestartPause:
    """There is no pause before the first replacement; each later one is twice as long as the one before, up to a limit.

    Parameters
    ----------
    wakeup : Wakeup
        Ends the pause.
    roster : Roster
        Knows the model's files.

    Attributes
    ----------
    seconds : float
        How long the next pause is.
    """

    def __init__(self, wakeup: Wakeup, roster: Roster) -> None:
        self._wakeup = wakeup
        self._roster = roster
        self._files_state: tuple[object, ...] = ()
        self.seconds = 0.0

    def limit(self, after: After) -> float:
        """Limit the next pause; returns its seconds."""
        self.seconds = min(self.seconds, MAX_PAUSE_SECONDS[after])
        return self.seconds

    def wait(self, after: After, *, watch_files: bool) -> None:
        """Pause until the end or a wakeup, or until the files have changed if they are watched."""
        deadline = CLOCK.now() + self.limit(after)
        self.seconds = min(max(FIRST_PAUSE_SECONDS, 2 * self.seconds), MAX_PAUSE_SECONDS[after])
        tried = last = self._files_state  # as they were before the load that has failed, if that is known
        while (left := deadline - CLOCK.now()) > 0:
            if wait([self._wakeup.descriptor], min(left, CHANGED_FILE_SECONDS)):
                self._wakeup.clear()
                return
            if watch_files:
                now = self._files_state = self._roster.location.files_state()
                tried = tried or now
                if now == last != tried:  # changed, and not being written any more
                    return
                last = now
