"""The dead man's switch, with a clock in the test's hand."""

import asyncio

import pytest

from alerting.running_bridge import HandClock
from alerting.webhooks import alert_body, webhook_body
from ccmusic.alerting.notification import Notification
from ccmusic.alerting.watchdog import RETRY_SECONDS, Watchdog

WATCHDOG = Notification.model_validate(webhook_body(alert_body("CcmusicWatchdog", severity="none")))
RESOLVED = Notification.model_validate(webhook_body(alert_body("CcmusicWatchdog", resolved=True)))


class Told:
    """Notes messages in place of the outbox."""

    def __init__(self):
        self.messages = []
        self.outcome = "delivered"

    async def __call__(self, message):
        self.messages.append(message)
        return self.outcome

    @property
    def states(self):
        return [message.alerts[0].status for message in self.messages]


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def heartbeat(clock, told):
    return Watchdog(300, told, clock=clock.monotonic, now=clock.now)


def look(heartbeat, times=3):
    for _ in range(times):
        asyncio.run(heartbeat.look())


def test_silence_is_told_once_and_so_is_its_end(heartbeat, clock, told):
    clock.seconds = 100
    heartbeat.beat(WATCHDOG)
    clock.seconds = 400
    look(heartbeat)
    assert told.states == []  # 300 s, not more
    clock.seconds = 401
    look(heartbeat)
    assert told.states == ["firing"]
    clock.seconds = 2000
    heartbeat.beat(WATCHDOG)
    look(heartbeat)
    assert told.states == ["firing", "resolved"]
    lost, back = (message.alerts[0] for message in told.messages)
    assert lost.starts_at == back.starts_at
    assert (back.ends_at - lost.starts_at).total_seconds() == 1900
    assert lost.critical
    assert lost.annotations["runbook_url"] == "https://runbooks.example.com/CcmusicWatchdog.md"
    assert told.messages[0].external_url == "http://alertmanager:9093"
    assert "5 分钟" in lost.annotations["description_zh"]
    assert "5 minutes" in lost.annotations["description"]


def test_a_prometheus_that_never_came_up_is_missed_too(heartbeat, clock, told):
    clock.seconds = 301
    look(heartbeat)
    assert told.states == ["firing"]
    assert "runbook_url" not in told.messages[0].alerts[0].annotations


def test_a_resolved_watchdog_is_no_heartbeat(heartbeat, clock, told):
    clock.seconds = 200
    heartbeat.beat(RESOLVED)
    assert heartbeat.age_seconds == 200


def test_news_that_nobody_took_is_told_again(heartbeat, clock, told):
    told.outcome = "failed"
    clock.seconds = 301
    look(heartbeat)
    assert told.states == ["firing"]
    clock.seconds += RETRY_SECONDS
    told.outcome = "mailed"
    look(heartbeat)
    assert told.states == ["firing", "firing"]


def test_an_end_of_what_nobody_heard_of_is_no_news(heartbeat, clock, told):
    told.outcome = "failed"
    clock.seconds = 301
    look(heartbeat)
    heartbeat.beat(WATCHDOG)
    clock.seconds += RETRY_SECONDS
    look(heartbeat)
    assert told.states == ["firing"]


def test_off(clock, told):
    heartbeat = Watchdog(0, told, clock=clock.monotonic, now=clock.now)
    clock.seconds = 1e6
    look(heartbeat)
    assert told.states == []
    assert not heartbeat.lost
