"""What is reported to systemd, and that no ping is sent for a service that hangs."""

import os
import threading
import uuid
from dataclasses import replace

import pytest

from ccmusic.health import CheckResult, HealthSnapshot
from ccmusic.serving import notify
from ccmusic.serving.notify import notifications
from deploy.notify_socket import NotifySocket
from support.waiting import wait_until

HEALTHY = HealthSnapshot(service="test", version="1", started=True)
PINGED = {"WATCHDOG_USEC": "100000"}
PING = "WATCHDOG=1"


class StubService:
    """The part of a service that the notifications use."""

    def __init__(self) -> None:
        self.draining = False
        self.now = HEALTHY
        self.listening = threading.Event()

    def snapshot(self) -> HealthSnapshot:
        return self.now

    def fail(self, cause: str, *affects: str) -> None:
        self.now = replace(HEALTHY, checks=(CheckResult("loop", frozenset(affects), "fail", cause),))


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setattr(notify, "STATUS_SECONDS", 0.2)
    return StubService()


@pytest.fixture(params=["path", "abstract"])
def heard(request, tmp_path):
    name = f"@ccmusic-{uuid.uuid4()}" if request.param == "abstract" else str(tmp_path / "notify")
    with NotifySocket(name) as heard:
        yield heard


def notifying(service, heard, **environment):
    return notifications(service, service.listening.is_set, {"NOTIFY_SOCKET": heard.name} | environment)


def test_ready_is_sent_once_the_server_listens_whatever_its_health(service, heard):
    service.fail("still loading", "health", "readyz")
    with notifying(service, heard):
        wait_until(lambda: heard.status == "Health check failed: loop: still loading", "the status")
        assert not heard.heard("READY=1")
        service.listening.set()
        wait_until(lambda: heard.heard("READY=1"), "ready")
    assert heard.messages.count("READY=1") == 1


def test_the_status_is_the_health_as_one_line(service, heard):
    with notifying(service, heard):
        wait_until(lambda: heard.status == "ok", "all is well")
        service.now = replace(HEALTHY, checks=(CheckResult("workers", frozenset(), "warn", "1 of 2 are running"),))
        wait_until(lambda: heard.status == "ok; but workers: 1 of 2 are running", "a warning")
        service.fail("first line\nREADY=1\nand an é that is not UTF-8: \udcff", "health")
        expected = "Health check failed: loop: first line READY=1 and an é that is not UTF-8: \\udcff"
        wait_until(lambda: heard.status == expected, "a cause of three lines")
    assert not heard.heard("READY=1")


def test_pings_are_sent_only_while_livez_is_true(service, heard):
    with notifying(service, heard, **PINGED):
        wait_until(lambda: heard.messages.count(PING) >= 3, "pings")
        service.fail("a full disk", "health", "readyz")
        wait_until(lambda: "a full disk" in heard.status, "it is reported")
        heard.forget()
        wait_until(lambda: heard.messages.count(PING) >= 3, "nothing that a restart would mend")
        service.fail("blocked", "livez")
        # health is fine, so the status says "ok" now, and the next status comes after some pings
        wait_until(lambda: heard.status == "ok", "it is reported")
        heard.forget()
        service.fail("blocked", "livez", "health")
        wait_until(lambda: "blocked" in heard.status, "it is reported")
        assert not heard.heard(PING)
        service.now = HEALTHY
        wait_until(lambda: heard.heard(PING), "it lives again")


def test_pings_are_for_the_process_that_systemd_names(service, heard):
    for watchdog in ({}, PINGED | {"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}):
        with notifying(service, heard, **watchdog):
            wait_until(lambda: heard.status == "ok", "the status")
            service.draining = True
            wait_until(lambda: heard.heard("STOPPING=1"), "a later turn")
        assert not heard.heard(PING)
        service.draining = False
        heard.forget()
    with notifying(service, heard, **PINGED, WATCHDOG_PID=str(os.getpid())):
        wait_until(lambda: heard.heard(PING), "a ping")


def test_the_end_is_reported_once(service, heard):
    service.listening.set()
    with notifying(service, heard, **PINGED):
        wait_until(lambda: heard.heard("READY=1"), "ready")
        service.draining = True
        wait_until(lambda: heard.heard("STOPPING=1"), "stopping")
        heard.forget()
        wait_until(lambda: heard.messages.count(PING) >= 2, "pings go on until the end")
        assert not heard.heard("STOPPING=1")
    assert not any(thread.name == "notifications" for thread in threading.enumerate())


def test_without_a_supervisor_there_is_no_thread(service):
    for environment in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:9999"}):
        with notifications(service, service.listening.is_set, environment):
            assert not any(thread.name == "notifications" for thread in threading.enumerate())


def test_a_message_that_was_not_received_is_sent_again(service, tmp_path, caplog):
    name = str(tmp_path / "notify")
    service.listening.set()
    with notifications(service, service.listening.is_set, {"NOTIFY_SOCKET": name}):
        wait_until(lambda: bool(caplog.records), "the error is logged")
        with NotifySocket(name) as heard:
            wait_until(lambda: heard.heard("READY=1") and heard.status == "ok", "the messages are received")
    assert len(caplog.records) == 1
    assert "cannot send READY to systemd" in caplog.text


def test_a_thread_that_fails_sends_no_pings(service, heard, caplog):
    with notifying(service, heard, **PINGED):
        wait_until(lambda: heard.heard(PING), "a ping")
        service.snapshot = lambda: 1 / 0
        wait_until(lambda: "no longer notified" in caplog.text, "the error is logged")
        heard.forget()
        wait_until(lambda: not any(t.name == "notifications" for t in threading.enumerate()), "the thread has ended")
        assert heard.messages == []
