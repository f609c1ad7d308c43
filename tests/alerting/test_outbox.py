"""Merging, the limit of 20 a minute, retries, the second channel and duplicates, with channels in the test's hand."""

import asyncio
import threading
import time

import pytest

from alerting.webhooks import alert_body, parsed
from ccmusic.alerting.failures import NotSent
from ccmusic.alerting.messages import MARKDOWN_BYTES, Message
from ccmusic.alerting.metrics import BridgeMetrics
from ccmusic.alerting.outbox import Outbox, Rate


class Channel:
    """Takes messages, or does what a test says first: an exception raised, or anything called."""

    def __init__(self, *first):
        self.first = list(first)
        self.taken = []
        self.tries = 0

    def send(self, *words):
        self.tries += 1
        if self.first:
            todo = self.first.pop(0)
            if isinstance(todo, Exception):
                raise todo
            todo()
        self.taken.append(words[:-1])


def busy():
    return NotSent("rejected", "errcode -1")


def refused():
    return NotSent("rejected", "errcode 93000", final=True)


def news(name="CcmusicRed", **labels):
    return Message((parsed(alert_body(name, **labels)),))


@pytest.fixture
def metrics():
    return BridgeMetrics(lambda: 0.0)


@pytest.fixture
def outcomes(make_bridge_settings, metrics):
    """Deliver messages at once, each with its key; gives what became of them."""

    def outcomes(robot, second, *messages, rate=None, together=True, **settings):
        async def run():
            outbox = Outbox(
                make_bridge_settings(**settings), robot, second, metrics, rate=rate, first_pause_seconds=0.01
            )
            running = asyncio.create_task(outbox.run())
            try:
                if together:
                    return await asyncio.gather(*(outbox.deliver(*message) for message in messages))
                return [await outbox.deliver(*message) for message in messages]
            finally:
                running.cancel()

        return asyncio.run(run())

    return outcomes


def count(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"ccmusic_wecom_{name}_total", labels)


def test_one_message_is_delivered(outcomes, metrics):
    robot = Channel()
    assert outcomes(robot, None, (news(),)) == ["delivered"]
    assert "CcmusicRed" in robot.taken[0][0]
    assert count(metrics, "messages", outcome="delivered") == 1
    assert metrics.registry.get_sample_value("ccmusic_wecom_last_success_timestamp_seconds") > 1e9


def test_waiting_messages_are_merged(outcomes):
    robot = Channel()
    assert outcomes(robot, None, *[(news(f"A{n}"),) for n in range(4)]) == ["delivered"] * 4
    assert len(robot.taken) == 1
    assert all(f"**A{n}**" in robot.taken[0][0] for n in range(4))


def test_alerts_that_do_not_fit_go_into_further_messages(outcomes):
    robot = Channel()
    assert outcomes(robot, None, *[(news(f"A{n}"),) for n in range(60)]) == ["delivered"] * 60
    texts = [content for (content,) in robot.taken]
    assert 1 < len(texts) < 20
    assert all(sum(f"**A{n}**" in text for text in texts) == 1 for n in range(60))
    assert all(len(text.encode()) <= MARKDOWN_BYTES for text in texts)
    assert not any("not shown" in text for text in texts)


def test_critical_alerts_go_first(outcomes):
    robot = Channel()
    outcomes(robot, None, *[(news(f"A{n}", severity="warning"),) for n in range(60)], (news("Urgent"),))
    assert "**Urgent**" in robot.taken[0][0]


def test_the_rate_limit_of_the_robot_is_kept(outcomes):
    robot = Channel()
    rate = Rate(2, 0.3)
    assert outcomes(robot, None, *[(news(f"A{n}"),) for n in range(5)], rate=rate, together=False) == ["delivered"] * 5
    assert len(rate._taken) <= 2


def test_messages_that_wait_for_the_rate_limit_are_merged(outcomes):
    robot = Channel()
    rate = Rate(1, 0.2)
    rate.take(time.monotonic())
    assert outcomes(robot, None, *[(news(f"A{n}"),) for n in range(5)], rate=rate) == ["delivered"] * 5
    assert len(robot.taken) == 1


def test_a_rate_limit_beyond_the_deadline_leads_to_a_mail(outcomes, metrics):
    robot, second = Channel(), Channel()
    messages = [(news(f"A{n}"),) for n in range(3)]
    rate = Rate(1)
    told = outcomes(robot, second, *messages, rate=rate, together=False, deadline_seconds=1)
    assert told == ["delivered", "mailed", "mailed"]
    assert count(metrics, "failures", reason="rate_limited") == 2
    assert "limit of the bridge" in second.taken[0][1]


def test_a_busy_robot_is_retried(outcomes, metrics):
    robot, second = Channel(busy(), busy()), Channel()
    assert outcomes(robot, second, (news(),)) == ["delivered"]
    assert robot.tries == 3
    assert second.tries == 0
    assert count(metrics, "failures", reason="rejected") == 2
    assert metrics.failure is None


def test_a_final_refusal_goes_to_the_second_channel_at_once(outcomes, metrics):
    robot, second = Channel(refused()), Channel()
    assert outcomes(robot, second, (news(),)) == ["mailed"]
    assert robot.tries == 1
    assert "errcode 93000" in second.taken[0][1]
    assert count(metrics, "messages", outcome="mailed") == 1


def test_a_robot_that_stays_busy_is_abandoned_at_the_deadline(outcomes):
    robot, second = Channel(*[busy() for _ in range(1000)]), Channel()
    assert outcomes(robot, second, (news(),), deadline_seconds=10) == ["mailed"]
    assert robot.tries > 2


def test_the_bridge_waits_after_too_many_messages(outcomes, monkeypatch):
    monkeypatch.setattr("ccmusic.alerting.outbox.RATE_LIMITED_PAUSE_SECONDS", 0.2)
    robot, second = Channel(NotSent("rate_limited", "errcode 45009")), Channel()
    assert outcomes(robot, second, (news(),)) == ["delivered"]
    assert robot.tries == 2


def test_both_channels_fail(outcomes, metrics):
    robot, second = Channel(refused()), Channel(NotSent("mail", "refused"))
    assert outcomes(robot, second, (news(),)) == ["failed"]
    assert metrics.last_outcome == "failed"
    assert metrics.failure == "rejected: errcode 93000; mail: refused"
    assert count(metrics, "failures", reason="mail") == 1


def test_no_second_channel(outcomes):
    assert outcomes(Channel(refused()), None, (news(),)) == ["failed"]


def test_an_exception_in_a_channel_affects_one_message(outcomes):
    robot = Channel(ZeroDivisionError())
    assert outcomes(robot, None, (news(),), (news("Next"),), together=False) == ["failed", "delivered"]


def test_a_call_that_never_returns_is_abandoned(outcomes, metrics, monkeypatch):
    never = threading.Event()
    monkeypatch.setattr("ccmusic.alerting.outbox.ATTEMPT_SECONDS", -0.9)  # and a second of grace
    try:
        assert outcomes(Channel(never.wait), Channel(), (news(),), deadline_seconds=0.1) == ["mailed"]
    finally:
        never.set()
    assert count(metrics, "failures", reason="timeout") == 1


def test_a_repeated_notification_is_sent_once(outcomes, metrics):
    robot = Channel()
    assert outcomes(robot, None, (news(), "key"), (news(), "key"), together=False) == ["delivered"] * 2
    assert outcomes(robot, None, (news(), "key"), (news(), "key")) == ["delivered"] * 2  # while it is being sent
    assert len(robot.taken) == 2
    assert count(metrics, "duplicates") == 2


def test_a_failed_notification_is_sent_again(outcomes):
    robot = Channel(refused())
    assert outcomes(robot, None, (news(), "key"), (news(), "key"), together=False) == ["failed", "delivered"]


def test_a_notification_delivered_long_ago_is_sent_again(outcomes):
    robot = Channel()
    outcomes(robot, None, (news(), "key"), (news(), "key"), together=False, remember_seconds=0)
    assert len(robot.taken) == 2


def test_all_series_exist_from_the_start(metrics):
    text = metrics.render()[0].decode()
    for outcome in ("delivered", "mailed", "failed"):
        assert f'ccmusic_wecom_messages_total{{outcome="{outcome}"}} 0.0' in text
    for reason in (
        "secret",
        "unreachable",
        "timeout",
        "http_status",
        "bad_answer",
        "rate_limited",
        "rejected",
        "mail",
    ):
        assert f'ccmusic_wecom_failures_total{{reason="{reason}"}} 0.0' in text
    assert "ccmusic_wecom_last_success_timestamp_seconds 0.0" in text
    assert "ccmusic_heartbeat_age_seconds 0.0" in text
