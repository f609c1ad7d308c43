"""Queue of messages: merges them, keeps to WeCom's rate limit, retries, and falls back to the second channel.

::

    deliver(message) ──► waiting ──► batch: as many as one robot message holds ──► robot, until the deadline ──► mail
         ▲                                                                            │                          │
         └────────────────── outcome: delivered, mailed or failed ◄───────────────────┴──────────────────────────┘

Everything runs on one event loop; only the sending blocks, on its own threads.
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
"""Time limit of one attempt at WeCom."""
LAST_ATTEMPT_SECONDS = 3.0
"""Time limit of the single attempt for a message whose deadline has passed in the queue."""
MAIL_SECONDS = 15.0
FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 8.0
RATE_LIMITED_PAUSE_SECONDS = 5.0
MAX_REMEMBERED = 10_000


class FirstChannel(Protocol):
    """Interface of `Robot`."""

    def send(self, content: str, timeout_seconds: float) -> None:
        """Post one message, or raise `NotSent`."""


class SecondChannel(Protocol):
    """Interface of `Mail`."""

    def send(self, subject: str, text: str, timeout_seconds: float) -> None:
        """Send one mail, or raise `NotSent`."""


class Record(Protocol):
    """Receives events, for the metrics and the probes."""

    def settled(self, outcome: Outcome, text: str | None) -> None:
        """Record the outcome of one message."""

    def failed(self, failure: NotSent) -> None:
        """Record one failed attempt."""

    def duplicate(self) -> None:
        """Record a repeated notification: it was already sent, or is being sent."""


@dataclass(eq=False)
class _Delivery:
    message: Message
    deadline: float
    outcome: asyncio.Future[Outcome]


@dataclass
class Rate:
    """Rate limit: at most `most` messages in any `seconds`.

    Attributes
    ----------
    most : int
    seconds : float
    """

    most: int
    seconds: float = 60.0
    _taken: deque[float] = field(default_factory=deque)

    def wait_seconds(self, now: float) -> float:
        """Seconds until the next message is allowed."""
        while self._taken and now - self._taken[0] >= self.seconds:
            self._taken.popleft()
        return 0.0 if len(self._taken) < self.most else self._taken[0] + self.seconds - now

    def take(self, now: float) -> None:
        """Record one message."""
        self._taken.append(now)


class Outbox:
    """Sends messages to the robot, or else to the second channel.

    Parameters
    ----------
    settings : BridgeSettings
    robot : FirstChannel
    second : SecondChannel, optional
    record : Record
    rate : Rate, optional
        Limit of WeCom for one robot.
    clock : callable
        Monotonic seconds.
    first_pause_seconds : float
        Pause between the first attempt and the second.
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
        """Send a message and wait for its outcome.

        Parameters
        ----------
        message : Message
        key : hashable, optional
            Equal for equal notifications. While one is being sent, and for `remember_seconds` after its success, a
            second call gets the outcome of the first.
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
        return await asyncio.shield(outcome)  # if the caller disconnects, the message is still sent

    async def run(self) -> None:
        """Send queued messages in an endless loop."""
        while True:
            await self._arrived.wait()
            await self._wait_for_rate()
            batch, message = self._take_batch()
            try:
                outcome = await self._send(batch, message)
            except Exception:  # after any error, the next message must still be sent
                logger.exception("sending a message raised an exception")
                outcome = "failed"
                self._record.settled(outcome, "internal error of the bridge")
            for delivery in batch:
                if not delivery.outcome.done():
                    delivery.outcome.set_result(outcome)

    def _forget(self, now: float) -> None:
        """Forget failed messages, and those sent long ago."""
        remember_seconds = self._settings.remember_seconds
        for key, (outcome, started) in list(self._known.items()):
            if not outcome.done():
                continue
            if outcome.cancelled() or outcome.result() == "failed" or now - started > remember_seconds:
                del self._known[key]
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    async def _wait_for_rate(self) -> None:
        """Wait until the rate limit allows a message or a deadline is reached; later arrivals are merged."""
        while True:
            now = self._clock()
            pause = min(self._rate.wait_seconds(now), min(delivery.deadline for delivery in self._waiting) - now)
            if pause <= 0:
                return
            await asyncio.sleep(pause)

    def _take_batch(self) -> tuple[list[_Delivery], Message]:
        """As many as fit into one robot message, critical ones first; at least one."""
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
        text = str(failure)
        if self._second is not None:
            mail_failure = await self._to_second(self._second, message, text)
            if mail_failure is None:
                self._record.settled("mailed", text)
                return "mailed"
            text = f"{text}; {mail_failure}"
        self._record.settled("failed", text)
        return "failed"

    async def _to_robot(self, message: Message, deadline: float) -> NotSent | None:
        """Try until it is accepted, finally refused, or the deadline is reached."""
        content, n_left_out = self._markdown(message)
        pause = self._first_pause_seconds
        while True:
            failure = await self._attempt(content, deadline)
            if failure is None:
                logger.info("WeCom accepted %d alerts, %d left out", len(message.alerts), n_left_out)
                return None
            self._record.failed(failure)
            logger.warning("WeCom did not accept a message: %s", failure)
            wait = max(pause, RATE_LIMITED_PAUSE_SECONDS if failure.reason == "rate_limited" else 0.0)
            wait = max(wait, self._rate.wait_seconds(self._clock()))
            if failure.final or self._clock() + wait >= deadline:
                return failure
            await asyncio.sleep(wait)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)

    async def _attempt(self, content: str, deadline: float) -> NotSent | None:
        now = self._clock()
        if (wait := self._rate.wait_seconds(now)) > 0:
            return NotSent("rate_limited", f"limit of the bridge; the next message is allowed in {wait:.0f} s")
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
            logger.error("the second channel did not accept a message: %s", failure)
        else:
            logger.warning("sent by mail: %d alerts", len(message.alerts))
        return failure
