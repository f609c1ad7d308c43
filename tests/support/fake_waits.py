"""What a test says about how long threads waited for a processor."""

from __future__ import annotations

from ccmusic.health.waits import RecentWaits


class FakeWaits(RecentWaits):
    """Replaces `OWN_WAITS` in the module under test: only what the test says counts, on however slow a machine.

    Attributes
    ----------
    waited : float
        The seconds for which each thread has waited.
    asked : list of int or None
        The threads that it was asked about.
    """

    def __init__(self, waited: float = 0.0) -> None:
        super().__init__(dict, lambda: 0.0)
        self.waited = waited
        self.asked: list[int | None] = []

    def seconds(self, thread: int | None, last: float) -> float:
        """See `RecentWaits.seconds`."""
        self.asked.append(thread)
        return min(last, self.waited)
