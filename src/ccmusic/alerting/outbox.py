"""What waits to be told: merged, slowed down to what WeCom takes, tried again, and given to the second channel.

::

    deliver(message) ──► waiting ──► batch: as many as one robot message holds ──► robot, until the deadline ──► mail
         ▲                                                                            │                          │
         └────────────────── outcome: delivered, mailed or failed ◄───────────────────┴──────────────────────────┘

All of it runs on one event loop; only the sending blocks, on threads of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ccmusic.alerting.failures import NotSent
from ccmusic.alerting.messages import Message, mail, markdown
from ccmusic.alerting.settings import BridgeSettings
from ccmusic.alerting.threads import call_within

logger = logging.getLogger(__name__)

Outcome = Literal["delivered", "mailed", "failed"]
Clock = Callable[[], float]

ATTEMPT_SECONDS = 8.0
"""Of one try at WeCom."""
LAST_ATTEMPT_SECONDS = 3.0
"""Of the one try that a message gets whose deadline passed while it waited behind others."""
MAIL_SECONDS = 15.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 8.0
RATE_LIMITED_PAUSE_SECONDS = 5.0
MOST_REMEMBERED = 10_000


class FirstChannel(Protocol):
    """What `Robot` does."""

    def send(self, content: str, timeout_seconds: float) -> None:
        """Post one message, or raise `NotSent`."""


class SecondChannel(Protocol):
    """What `Mail` does."""

    def send(self, subject: str, text: str, timeout_seconds: float) -> None:
        """Send one mail, or raise `NotSent`."""


class Record(Protocol):
    """Told what happens, for the metrics and the probes."""

    def settled(self, outcome: Outcome, words: str | None) -> None:
        """One message reached somebody, or nobody."""

    def failed(self, failure: NotSent) -> None:
        """One try at a channel was in vain."""

    def duplicate(self) -> None:
        """A notification came again that was taken already, or is being sent."""


@dataclass(eq=False)
class _Delivery:
    message: Message
    deadline: float
    outcome: asyncio.Future[Outcome]


@dataclass
class Rate:
    """At most so many in any so many seconds.

    Attributes
    ----------
    most : int
    seconds : float
    """

    most: int
    seconds: float = 60.0
    _taken: deque[float] = field(default_factory=deque)

    def wait_seconds(self, now: float) -> float:
        """How long until the next one may go."""
        while self._taken and now - self._taken[0] >= self.seconds:
            self._taken.popleft()
        return 0.0 if len(self._taken) < self.most else self._taken[0] + self.seconds - now

    def take(self, now: float) -> None:
        """One goes."""
        self._taken.append(now)


class Outbox:
    """Brings messages to the robot, or else to the second channel.

    Parameters
    ----------
    settings : BridgeSettings
    robot : FirstChannel
    second : SecondChannel, optional
    record : Record
    rate : Rate, optional
        WeCom's limit for one robot.
    clock : callable
        Monotonic seconds.
    first_pause_seconds : float
        Between the first try and the second.
    """

    def __init__(
        self,
        settings: BridgeSettings,
        robot: FirstChannel,
        second: SecondChannel | None,
        record: Record,
        *,
        rate: Rate | None = None,
        clock: Clock = time.monotonic,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._settings = settings
        self._robot = robot
        self._second = second
        self._record = record
        self._rate = rate or Rate(settings.per_minute)
        self._clock = clock
        self._first_pause_seconds = first_pause_seconds
        self._waiting: list[_Delivery] = []
        self._arrived = asyncio.Event()
        self._known: OrderedDict[Hashable, tuple[asyncio.Future[Outcome], float]] = OrderedDict()

    async def deliver(self, message: Message, key: Hashable = None) -> Outcome:
        """Wait until a message has reached somebody, or nobody.

        Parameters
        ----------
        message : Message
        key : hashable, optional
            The same for the same news: while it is being sent, and `remember_seconds` after it was taken, a second
            call joins the first.
        """
        now = self._clock()
        self._forget(now)
        known = self._known.get(key) if key is not None else None
        if known is not None:
            self._record.duplicate()
            return await asyncio.shield(known[0])
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if key is not None:
            self._known[key] = outcome, now
        self._waiting.append(_Delivery(message, now + self._settings.deadline_seconds, outcome))
        self._arrived.set()
        return await asyncio.shield(outcome)  # a caller who leaves takes nothing along

    async def run(self) -> None:
        """Send what waits, for ever."""
        while True:
            await self._arrived.wait()
            await self._wait_for_a_place()
            batch, message = self._take_batch()
            try:
                outcome = await self._send(batch, message)
            except Exception:  # whatever it was, the next message must have its chance
                logger.exception("sending a message broke")
                outcome = "failed"
                self._record.settled(outcome, "the bridge itself broke")
            for delivery in batch:
                if not delivery.outcome.done():
                    delivery.outcome.set_result(outcome)

    def _forget(self, now: float) -> None:
        """Drop what has failed, and what was taken long ago."""
        remember_seconds = self._settings.remember_seconds
        for key, (outcome, begun) in list(self._known.items()):
            if not outcome.done():
                continue
            if outcome.cancelled() or outcome.result() == "failed" or now - begun > remember_seconds:
                del self._known[key]
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)

    async def _wait_for_a_place(self) -> None:
        """Until the robot may be written to, or the first deadline has come; what arrives meanwhile is merged."""
        while True:
            now = self._clock()
            pause = min(self._rate.wait_seconds(now), min(delivery.deadline for delivery in self._waiting) - now)
            if pause <= 0:
                return
            await asyncio.sleep(pause)

    def _take_batch(self) -> tuple[list[_Delivery], Message]:
        """As many as one robot message holds, critical ones first; one at least."""
        by_urgency = sorted(self._waiting, key=lambda delivery: not delivery.message.critical)
        batch, message = by_urgency[:1], by_urgency[0].message
        for delivery in by_urgency[1:]:
            longer = message + delivery.message
            if self._markdown(longer)[1]:
                break
            batch.append(delivery)
            message = longer
        self._waiting = [delivery for delivery in self._waiting if delivery not in batch]
        if not self._waiting:
            self._arrived.clear()
        return batch, message

    def _markdown(self, message: Message) -> tuple[str, int]:
        return markdown(message, self._settings.zone, self._settings.mention)

    async def _send(self, batch: list[_Delivery], message: Message) -> Outcome:
        deadline = min(delivery.deadline for delivery in batch)
        failure = await self._to_robot(message, deadline)
        if failure is None:
            self._record.settled("delivered", None)
            return "delivered"
        words = str(failure)
        if self._second is not None:
            mail_failure = await self._to_second(self._second, message, words)
            if mail_failure is None:
                self._record.settled("mailed", words)
                return "mailed"
            words = f"{words}; {mail_failure}"
        self._record.settled("failed", words)
        return "failed"

    async def _to_robot(self, message: Message, deadline: float) -> NotSent | None:
        """Try until it is taken, refused for good, or the deadline has come."""
        content, n_left_out = self._markdown(message)
        pause = self._first_pause_seconds
        while True:
            failure = await self._one_try(content, deadline)
            if failure is None:
                logger.info("WeCom took %d alerts, %d left out", len(message.alerts), n_left_out)
                return None
            self._record.failed(failure)
            logger.warning("WeCom did not take a message: %s", failure)
            wait = max(pause, RATE_LIMITED_PAUSE_SECONDS if failure.reason == "rate_limited" else 0.0)
            wait = max(wait, self._rate.wait_seconds(self._clock()))
            if failure.final or self._clock() + wait >= deadline:
                return failure
            await asyncio.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _one_try(self, content: str, deadline: float) -> NotSent | None:
        now = self._clock()
        if (wait := self._rate.wait_seconds(now)) > 0:
            return NotSent("rate_limited", f"our own count of messages; the next may go in {wait:.0f} s")
        self._rate.take(now)
        seconds = min(ATTEMPT_SECONDS, max(LAST_ATTEMPT_SECONDS, deadline - now))
        try:
            await call_within(seconds + 1.0, lambda: self._robot.send(content, seconds), "wecom")
        except NotSent as failure:
            return failure
        except TimeoutError:
            return NotSent("timeout", f"not done within {seconds:.0f} s")
        return None

    async def _to_second(self, second: SecondChannel, message: Message, reason: str) -> NotSent | None:
        subject, text = mail(message, self._settings.zone, reason)
        failure = None
        try:
            await call_within(MAIL_SECONDS, lambda: second.send(subject, text, MAIL_SECONDS), "mail")
        except NotSent as error:
            failure = error
        except TimeoutError:
            failure = NotSent("mail", f"not done within {MAIL_SECONDS:.0f} s")
        if failure is not None:
            self._record.failed(failure)
            logger.error("the second channel did not take a message: %s", failure)
        else:
            logger.warning("sent by mail: %d alerts", len(message.alerts))
        return failure
