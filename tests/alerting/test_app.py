"""The whole bridge on a real socket, before the stand-in for WeCom and a real mail server."""

import json
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import pytest

from alerting.running_bridge import HandClock, running_bridge
from alerting.webhooks import alert_body, webhook_body
from ccmusic.alerting.server import MAX_CONNECTIONS
from support.fake_smtp import FakeSmtp
from support.fake_wecom import KEY
from support.waiting import PATIENCE_SECONDS, wait_until


@pytest.fixture
def smtp():
    with FakeSmtp() as running:
        yield running


@pytest.fixture
def settings(make_bridge_settings, smtp):
    def make(**changes):
        mail = {"smtp_host": "127.0.0.1", "smtp_port": smtp.port, "smtp_security": "none"}
        return make_bridge_settings(**(mail | {"smtp_from": "a@example.com", "smtp_to": "b@example.com"} | changes))

    return make


@pytest.fixture
def bridge(settings):
    with running_bridge(settings(), first_pause_seconds=0.05) as running:
        yield running


def test_an_alert_reaches_the_group(bridge, wecom):
    answer = bridge.alerts(webhook_body())
    assert (answer.status_code, answer.json()) == (200, {"outcome": "delivered"})
    assert "找不到模型文件" in wecom.robot_texts[0]
    assert "Model file not found" in wecom.robot_texts[0]
    assert bridge.metric('ccmusic_wecom_messages_total{outcome="delivered"}') == 1
    assert (
        bridge.get("/livez").status_code
        == bridge.get("/readyz").status_code
        == bridge.get("/health").status_code
        == 200
    )


def test_many_alerts_at_once_become_few_messages(bridge, wecom):
    wecom.delay_seconds = 2.0  # so long that all have arrived while the first few messages are sent
    bodies = [webhook_body(alert_body(f"A{n}"), groupKey=str(n)) for n in range(30)]
    with ThreadPoolExecutor(30) as pool:
        assert {answer.status_code for answer in pool.map(bridge.alerts, bodies)} == {200}
    assert len(wecom.robot_messages) <= 10
    assert all(sum(f"**A{n}**" in text for text in wecom.robot_texts) == 1 for n in range(30))


def test_a_retry_is_not_sent_twice(bridge, wecom):
    changed = alert_body()
    changed["annotations"]["description"] = "the measured value is another now"
    for body in (webhook_body(), webhook_body(), webhook_body(changed)):
        assert bridge.alerts(body).status_code == 200
    assert len(wecom.robot_messages) == 1
    assert bridge.alerts(webhook_body(alert_body(resolved=True))).status_code == 200
    assert len(wecom.robot_messages) == 2
    assert bridge.metric("ccmusic_wecom_duplicates_total") == 2


def test_a_client_that_disconnects_and_retries(bridge, wecom):
    wecom.delay_seconds = 0.5
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{bridge.url}/alerts", json=webhook_body(), timeout=httpx.Timeout(PATIENCE_SECONDS, read=0.2))
    assert bridge.alerts(webhook_body()).status_code == 200
    assert len(wecom.robot_messages) == 1


def test_without_wecom_a_mail_is_sent(bridge, wecom, smtp, settings):
    wecom.stop()
    with running_bridge(settings(deadline_seconds=2), first_pause_seconds=0.05) as quick:
        assert quick.alerts(webhook_body()).json() == {"outcome": "mailed"}
        assert "CcmusicRed" in smtp.mails[0]["Subject"]
        assert "找不到模型文件" in smtp.texts[0]
        assert "unreachable" in smtp.texts[0]
        wait_until(lambda: "last_message" in quick.get("/health?verbose").text, "the probe has it")
        assert quick.get("/readyz").status_code == 200  # the message was delivered
        wecom.start()
        assert quick.alerts(webhook_body(alert_body("Next"))).json() == {"outcome": "delivered"}


def test_503_until_one_channel_works_again(wecom, smtp, settings):
    wecom.errcode = 93000
    smtp.refuse = "451 later"
    with running_bridge(settings()) as bridge:
        answer = bridge.alerts(webhook_body())
        assert answer.status_code == 503
        assert "errcode 93000" in answer.json()["error"]
        wait_until(lambda: bridge.get("/readyz").status_code == 503, "/readyz is 503")
        assert "not delivered" in bridge.get("/health").json()["message"]
        assert bridge.get("/livez").status_code == 200
        wecom.errcode = 0
        assert bridge.alerts(webhook_body()).status_code == 200
        wait_until(lambda: bridge.get("/readyz").status_code == 200, "/readyz is 200 again")
        assert bridge.metric('ccmusic_wecom_messages_total{outcome="failed"}') == 1


def test_a_missing_robot_file_is_reported_before_an_alert_needs_it(bridge, robot_file):
    robot_file.unlink()
    wait_until(lambda: bridge.get("/readyz").status_code == 503, "/readyz is 503")
    assert "No such file" in bridge.get("/readyz").json()["message"]


def test_a_bearer_token(settings, tmp_path, wecom):
    token = tmp_path / "token"
    token.write_text("word\n")
    with running_bridge(settings(token_file=token)) as bridge:
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic word"}):
            answer = bridge.alerts(webhook_body(), headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert httpx.post(f"{bridge.url}/heartbeat", json=webhook_body()).status_code == 401
        assert bridge.alerts(webhook_body(), headers={"Authorization": "Bearer word"}).status_code == 200
        assert bridge.get("/metrics").status_code == 200
        token.write_text("")
        assert bridge.alerts(webhook_body(), headers={"Authorization": "Bearer word"}).status_code == 503
    assert len(wecom.robot_messages) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        json.dumps(webhook_body(version="3")).encode(),
        json.dumps(webhook_body(alerts=[])).encode(),
        json.dumps(webhook_body(alert_body() | {"startsAt": "yesterday"})).encode(),
        json.dumps(webhook_body(alert_body() | {"labels": {"a": 1}})).encode(),
    ],
)
def test_a_body_that_is_not_a_webhook_is_refused(bridge, content):
    for path in ("/alerts", "/heartbeat"):
        answer = httpx.post(bridge.url + path, content=content)
        assert answer.status_code == 400
        assert "version 4" in answer.json()["error"]


def test_a_body_that_is_too_long(bridge):
    def chunks():
        for _ in range(20):
            yield b" " * 2**16

    assert httpx.post(f"{bridge.url}/alerts", content=b" " * (2**20 + 1)).status_code == 413
    assert httpx.post(f"{bridge.url}/alerts", content=chunks()).status_code == 413


def address_of(bridge):
    host, port = bridge.url.removeprefix("http://").split(":")
    return host, int(port)


def test_a_body_that_does_not_arrive(bridge, monkeypatch):
    monkeypatch.setattr("ccmusic.alerting.app.BODY_SECONDS", 0.1)
    with socket.create_connection(address_of(bridge), PATIENCE_SECONDS) as connection:
        connection.sendall(b"POST /alerts HTTP/1.1\r\nHost: b\r\nContent-Length: 10\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_head_that_does_not_arrive(settings, monkeypatch):
    monkeypatch.setattr("ccmusic.alerting.server.HEAD_SECONDS", 0.1)
    with running_bridge(settings()) as bridge, socket.create_connection(address_of(bridge), PATIENCE_SECONDS) as client:
        client.sendall(b"POST /alerts HTTP/1.1\r\nHost: b\r\n")
        assert client.recv(100) == b""


def test_strangers_who_open_connections_do_not_hold_up_an_alert(settings, wecom):
    def is_open(stranger: socket.socket) -> bool:
        try:
            return bool(stranger.recv(1, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    with running_bridge(settings()) as bridge, ExitStack() as stack:
        strangers = []
        for _ in range(2 * MAX_CONNECTIONS):
            strangers.append(stack.enter_context(socket.create_connection(address_of(bridge), PATIENCE_SECONDS)))
            with suppress(OSError):  # one that was closed for another
                strangers[-1].sendall(b"POST /alerts HTTP/1.1\r\nHost: b\r\nContent-Length: 10\r\n\r\n")
        wait_until(lambda: sum(map(is_open, strangers)) <= MAX_CONNECTIONS, "the others were closed")
        assert bridge.alerts(webhook_body()).status_code == 200
    assert len(wecom.robot_messages) == 1


def test_strangers_without_the_token_use_up_no_message(settings, wecom, tmp_path):
    """WeCom takes 20 messages in a minute."""
    (tmp_path / "token").write_text("token")
    with running_bridge(settings(token_file=tmp_path / "token", per_minute=1)) as bridge:
        for _ in range(30):
            assert bridge.alerts(webhook_body()).status_code == 401
        assert bridge.alerts(webhook_body(), headers={"Authorization": "Bearer token"}).status_code == 200
    assert len(wecom.robot_messages) == 1


def test_a_lost_heartbeat_is_reported_to_the_group(settings, wecom, monkeypatch):
    monkeypatch.setattr("ccmusic.alerting.watchdog.CHECK_SECONDS", 0.02)
    clock = HandClock()
    with running_bridge(settings(), clock=clock.monotonic, now=clock.now) as bridge:
        watchdog = webhook_body(alert_body("CcmusicWatchdog", severity="none"))
        clock.seconds = 250
        assert httpx.post(f"{bridge.url}/heartbeat", json=watchdog).status_code == 200
        assert bridge.metric("ccmusic_heartbeat_age_seconds") == 0
        clock.seconds = 600
        wait_until(lambda: len(wecom.robot_messages) == 1, "the silence is told")
        assert "Prometheus 或 Alertmanager 已静默" in wecom.robot_texts[0]
        assert bridge.metric("ccmusic_heartbeat_age_seconds") == 350
        wait_until(lambda: bridge.get("/health").status_code == 503, "/health is 503")
        assert bridge.get("/readyz").status_code == 200
        httpx.post(f"{bridge.url}/heartbeat", json=watchdog)
        wait_until(lambda: len(wecom.robot_messages) == 2, "its end is told")
        assert "已恢复 RESOLVED" in wecom.robot_texts[1]
        assert "5 分 50 秒" in wecom.robot_texts[1]


def test_the_key_appears_in_no_output(settings, wecom, smtp, robot_file, caplog):
    caplog.set_level(logging.DEBUG)
    shown = []
    with running_bridge(settings(deadline_seconds=0.2), first_pause_seconds=0.01) as bridge:
        wecom.errcode = 93000
        shown.append(bridge.alerts(webhook_body(alert_body("A"))).text)
        wecom.stop()
        shown.append(bridge.alerts(webhook_body(alert_body("B"))).text)
        robot_file.write_text(f"http://[/?key={KEY}")
        shown.append(bridge.alerts(webhook_body(alert_body("C"))).text)
        smtp.stop()
        shown.append(bridge.alerts(webhook_body(alert_body("D"))).text)
        wait_until(lambda: bridge.get("/readyz").status_code == 503, "/readyz is 503")
        shown += [bridge.get(path).text for path in ("/metrics", "/health", "/readyz?verbose")]
    assert not any(KEY in text for text in (*shown, caplog.text, *smtp.texts))
    assert "rejected" in caplog.text


def test_an_ended_task_fails_livez(bridge):
    running = bridge.app.state.bridge
    task = running._tasks[0]
    task.get_loop().call_soon_threadsafe(task.cancel)
    wait_until(lambda: bridge.get("/livez").status_code == 503, "/livez is 503")
    assert "outbox has ended" in bridge.get("/livez").json()["message"]


def test_shutdown_does_not_wait_for_an_abandoned_call(settings, wecom):
    wecom.delay_seconds = 2 * PATIENCE_SECONDS

    def call():
        with suppress(httpx.HTTPError):
            bridge.alerts(webhook_body())

    with running_bridge(settings()) as bridge:
        caller = threading.Thread(target=call)
        caller.start()
        wait_until(lambda: wecom.attempts == 1, "the try has begun")
    caller.join(PATIENCE_SECONDS)
    assert not caller.is_alive()
