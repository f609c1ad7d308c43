"""What systemd is told, and that it is told nothing good of a service that hangs."""

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

SOUND = HealthSnapshot(service="test", version="1", started=True)
PINGED = {"WATCHDOG_USEC": "100000"}
PING = "WATCHDOG=1"


class StubService:
    """As a service shows itself to the notifications."""

    def __init__(self) -> None:
        self.draining = False
        self.now = SOUND
        self.listening = threading.Event()

    def snapshot(self) -> HealthSnapshot:
        return self.now

    def fail(self, cause: str, *affects: str) -> None:
        self.now = replace(SOUND, checks=(CheckResult("loop", frozenset(affects), "fail", cause),))


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setattr(notify, "STATUS_SECONDS", 0.2)
    return StubService()


@pytest.fixture(params=["path", "abstract"])
def heard(request, tmp_path):
    name = f"@ccmusic-{uuid.uuid4()}" if request.param == "abstract" else str(tmp_path / "notify")
    with NotifySocket(name) as heard:
        yield heard


def told(service, heard, **environment):
    return notifications(service, service.listening.is_set, {"NOTIFY_SOCKET": heard.name} | environment)


def test_ready_is_said_once_it_listens_whatever_the_health(service, heard):
    service.fail("still loading", "health", "readyz")
    with told(service, heard):
        wait_until(lambda: heard.status == "Health check failed: loop: still loading", "the status")
        assert not heard.heard("READY=1")
        service.listening.set()
        wait_until(lambda: heard.heard("READY=1"), "ready")
    assert heard.messages.count("READY=1") == 1


def test_the_status_is_the_health_in_one_line(service, heard):
    with told(service, heard):
        wait_until(lambda: heard.status == "ok", "all is well")
        service.now = replace(SOUND, checks=(CheckResult("workers", frozenset(), "warn", "1 of 2 are running"),))
        wait_until(lambda: heard.status == "ok; but workers: 1 of 2 are running", "a warning")
        service.fail("first line\nREADY=1\nand an é that is no UTF-8: \udcff", "health")
        expected = "Health check failed: loop: first line READY=1 and an é that is no UTF-8: \\udcff"
        wait_until(lambda: heard.status == expected, "a cause of three lines")
    assert not heard.heard("READY=1")


def test_pings_come_while_livez_is_true_and_only_then(service, heard):
    with told(service, heard, **PINGED):
        wait_until(lambda: heard.messages.count(PING) >= 3, "pings")
        service.fail("a full disk", "health", "readyz")
        wait_until(lambda: "a full disk" in heard.status, "it is told")
        heard.forget()
        wait_until(lambda: heard.messages.count(PING) >= 3, "nothing that a restart would mend")
        service.fail("blocked", "livez")
        # health is fine, so the status says "ok" from here on, and the next status comes some pings later
        wait_until(lambda: heard.status == "ok", "it is told")
        heard.forget()
        service.fail("blocked", "livez", "health")
        wait_until(lambda: "blocked" in heard.status, "it is told")
        assert not heard.heard(PING)
        service.now = SOUND
        wait_until(lambda: heard.heard(PING), "it lives again")


def test_pings_are_for_the_process_that_they_are_asked_of(service, heard):
    for watchdog in ({}, PINGED | {"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}):
        with told(service, heard, **watchdog):
            wait_until(lambda: heard.status == "ok", "the status")
            service.draining = True
            wait_until(lambda: heard.heard("STOPPING=1"), "a later turn")
        assert not heard.heard(PING)
        service.draining = False
        heard.forget()
    with told(service, heard, **PINGED, WATCHDOG_PID=str(os.getpid())):
        wait_until(lambda: heard.heard(PING), "a ping")


def test_the_end_is_said_once(service, heard):
    service.listening.set()
    with told(service, heard, **PINGED):
        wait_until(lambda: heard.heard("READY=1"), "ready")
        service.draining = True
        wait_until(lambda: heard.heard("STOPPING=1"), "stopping")
        heard.forget()
        wait_until(lambda: heard.messages.count(PING) >= 2, "it lives to its end")
        assert not heard.heard("STOPPING=1")
    assert not any(thread.name == "notifications" for thread in threading.enumerate())


def test_without_a_supervisor_there_is_no_thread(service):
    for environment in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:9999"}):
        with notifications(service, service.listening.is_set, environment):
            assert not any(thread.name == "notifications" for thread in threading.enumerate())


def test_what_nobody_took_is_said_again(service, tmp_path, caplog):
    name = str(tmp_path / "notify")
    service.listening.set()
    with notifications(service, service.listening.is_set, {"NOTIFY_SOCKET": name}):
        wait_until(lambda: bool(caplog.records), "the log says so")
        with NotifySocket(name) as heard:
            wait_until(lambda: heard.heard("READY=1") and heard.status == "ok", "it is made up for")
    assert len(caplog.records) == 1
    assert "cannot send READY to systemd" in caplog.text


def test_a_thread_that_cannot_go_on_pings_no_more(service, heard, caplog):
    with told(service, heard, **PINGED):
        wait_until(lambda: heard.heard(PING), "a ping")
        service.snapshot = lambda: 1 / 0
        wait_until(lambda: "no longer notified" in caplog.text, "the log says so")
        heard.forget()
        wait_until(lambda: not any(t.name == "notifications" for t in threading.enumerate()), "it has ended")
        assert heard.messages == []
