"""The watchdog, with a clock that the test controls."""

import asyncio
import inspect

import pytest

from alerting.running_bridge import HandClock
from alerting.webhooks import alert_body, webhook_body
from ccmusic.alerting.app import Bridge
from ccmusic.alerting.notification import Notification
from ccmusic.alerting.watchdog import RETRY_SECONDS, Watchdog
from ccmusic.health.clock import CLOCK
from support.fake_clock import FakeProcess

WATCHDOG = Notification.model_validate(webhook_body(alert_body("CcmusicWatchdog", severity="none")))
RESOLVED = Notification.model_validate(webhook_body(alert_body("CcmusicWatchdog", resolved=True)))


class Sent:
    """Records messages instead of the outbox."""

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
def sent():
    return Sent()


@pytest.fixture
def watchdog(clock, sent):
    return Watchdog(300, sent, clock=clock.monotonic, now=clock.now)


def check(watchdog, times=3):
    for _ in range(times):
        asyncio.run(watchdog.check())


def test_a_lost_heartbeat_and_its_return_are_each_reported_once(watchdog, clock, sent):
    clock.seconds = 100
    watchdog.note(WATCHDOG)
    clock.seconds = 400
    check(watchdog)
    assert sent.states == []  # 300 s, not more
    clock.seconds = 401
    check(watchdog)
    assert sent.states == ["firing"]
    clock.seconds = 2000
    watchdog.note(WATCHDOG)
    check(watchdog)
    assert sent.states == ["firing", "resolved"]
    lost, back = (message.alerts[0] for message in sent.messages)
    assert lost.starts_at == back.starts_at
    assert (back.ends_at - lost.starts_at).total_seconds() == 1900
    assert lost.critical
    assert lost.annotations["runbook_url"] == "https://runbooks.example.com/CcmusicWatchdog.md"
    assert sent.messages[0].external_url == "http://alertmanager:9093"
    assert "5 分钟" in lost.annotations["description_zh"]
    assert "5 minutes" in lost.annotations["description"]


def test_a_prometheus_that_never_started_is_reported(watchdog, clock, sent):
    clock.seconds = 301
    check(watchdog)
    assert sent.states == ["firing"]
    assert "runbook_url" not in sent.messages[0].alerts[0].annotations


def test_a_pause_of_the_machine_is_no_lost_heartbeat(sent):
    process = FakeProcess()
    watchdog = Watchdog(300, sent, clock=process.clock.now)
    process.stop(3600)
    check(watchdog)
    assert sent.states == []
    process.run(301)
    check(watchdog)
    assert sent.states == ["firing"]


def test_the_bridge_measures_in_running_time():
    assert inspect.signature(Bridge).parameters["clock"].default == CLOCK.now


def test_a_resolved_watchdog_alert_is_not_a_heartbeat(watchdog, clock, sent):
    clock.seconds = 200
    watchdog.note(RESOLVED)
    assert watchdog.age_seconds == 200


def test_an_undelivered_report_is_sent_again(watchdog, clock, sent):
    sent.outcome = "failed"
    clock.seconds = 301
    check(watchdog)
    assert sent.states == ["firing"]
    clock.seconds += RETRY_SECONDS
    sent.outcome = "mailed"
    check(watchdog)
    assert sent.states == ["firing", "firing"]


def test_the_return_is_not_reported_if_the_loss_was_not_delivered(watchdog, clock, sent):
    sent.outcome = "failed"
    clock.seconds = 301
    check(watchdog)
    watchdog.note(WATCHDOG)
    clock.seconds += RETRY_SECONDS
    check(watchdog)
    assert sent.states == ["firing"]


def test_a_limit_of_0_turns_it_off(clock, sent):
    watchdog = Watchdog(0, sent, clock=clock.monotonic, now=clock.now)
    clock.seconds = 1e6
    check(watchdog)
    assert sent.states == []
    assert not watchdog.lost
