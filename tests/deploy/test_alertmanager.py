"""The shipped configuration in the real Alertmanager, before the bridge, WeCom's stand-in and a mail server.

Changed in the configuration are addresses, the folder of the secrets, and the times.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from support.fake_smtp import FakeSmtp
from support.fake_wecom import CORP_ID, SECRET, FakeWecom
from support.running_server import RunningServer, running_server
from support.waiting import wait_until

pytestmark = pytest.mark.deploy

FOLDER = Path(__file__).parents[2] / "deploy" / "alertmanager"
RULES = FOLDER.parent / "prometheus" / "rules" / "ccmusic.rules.yml"
CONFIGURATIONS = ("alertmanager.yml", "wecom-application.yml")
INSTANCE = "ccmusic:7860"
PROBED = "http://ccmusic:7860/health"
PASSWORD = "a-password-of-the-tests"

TO_THE_GROUP = """
    CcmusicDown CcmusicRed CcmusicProbeFails CcmusicProbeMissing CcmusicNotReady CcmusicNotAlive CcmusicWorkerRestarts
    CcmusicSelfTestStale CcmusicSelfTestFailing CcmusicErrorBudgetFastBurn CcmusicErrorBudgetSlowBurn
    CcmusicErrorBudgetTrickle CcmusicOverloaded CcmusicQueueOld CcmusicSlow CcmusicMemoryHigh CcmusicGpuMemoryHigh
    CcmusicDiskLow CcmusicPageFails CcmusicLoopLag CcmusicDrift CcmusicModelMismatch
"""
RECEIVERS = {name: ["wecom"] for name in TO_THE_GROUP.split()} | {
    "CcmusicWatchdog": ["heartbeat"],
    "CcmusicNotificationsFailing": ["email", "wecom"],
}


def alert(name: str, *, resolved: bool = False, **labels: str) -> dict[str, Any]:
    """As Prometheus would post it."""
    now = datetime.now(UTC)
    body: dict[str, Any] = {
        "labels": {"alertname": name, "severity": "critical", "service": "ccmusic", "instance": INSTANCE} | labels,
        "annotations": {
            "summary": f"{INSTANCE} is red: model",
            "summary_zh": f"{INSTANCE} 健康检查未通过：model",
            "description": "Model file not found: /models/a",
            "description_zh": "找不到模型文件：/models/a",
            "runbook_url": f"https://runbooks.example.com/{name}.md",
        },
        "startsAt": (now - timedelta(minutes=5)).isoformat(),
    }
    body["labels"] = {label: value for label, value in body["labels"].items() if value}
    if resolved:
        body["endsAt"] = now.isoformat()
    return body


class Alertmanager:
    """A running one."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self.log = log

    def post(self, *alerts: dict[str, Any]) -> None:
        """As Prometheus does."""
        httpx.post(f"{self.url}/api/v2/alerts", json=list(alerts), timeout=10).raise_for_status()

    def suppressed(self) -> set[str]:
        """Names of the alerts that another one silences."""
        found = httpx.get(f"{self.url}/api/v2/alerts", timeout=10).json()
        return {entry["labels"]["alertname"] for entry in found if entry["status"]["state"] == "suppressed"}

    def metric(self, name: str, integration: str) -> float:
        """One of its counters, summed over what else labels it."""
        text = httpx.get(f"{self.url}/metrics", timeout=10).text
        rows = re.findall(rf'^{name}{{[^}}]*integration="{integration}"[^}}]*}} (\S+)$', text, re.MULTILINE)
        return sum(map(float, rows))


@contextmanager
def running_alertmanager(
    folder: Path, name: str = "alertmanager.yml", changes: dict[str, str] | None = None, group_wait: str = "50ms"
) -> Iterator[Alertmanager]:
    """The shipped file with quick times and these replacements, each of which must be found in it.

    On a slow machine, alerts of one post that must come in one message need a longer `group_wait`: Alertmanager takes
    them up one by one.
    """
    text = (FOLDER / name).read_text(encoding="utf-8")
    for old, new in (changes or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    text = text.replace("/run/secrets/wecom_bridge_token", str(folder / "wecom_bridge_token"))
    text = re.sub(r"group_wait: \w+", f"group_wait: {group_wait}", text)
    text = re.sub(r"group_interval: \w+", "group_interval: 500ms", text)
    shutil.copytree(FOLDER / "templates", folder / "templates")
    (folder / "alertmanager.yml").write_text(text, encoding="utf-8")
    log = folder / "alertmanager.log"
    words = ["--web.listen-address=127.0.0.1:0", "--cluster.listen-address=", f"--storage.path={folder / 'data'}"]
    with log.open("w") as file:
        process = subprocess.Popen(
            ["prometheus-alertmanager", f"--config.file={folder / 'alertmanager.yml'}", "--log.level=debug", *words],
            stderr=file,
        )
    try:

        def address() -> str | None:
            found = re.search(r'"?Listening on"? address=(127\.0\.0\.1:\d+)', log.read_text())
            return found[1] if found else None

        wait_until(lambda: process.poll() is not None or address() is not None, "Alertmanager listens")
        assert process.poll() is None, log.read_text()
        running = Alertmanager(f"http://{address()}", log)
        wait_until(lambda: httpx.get(f"{running.url}/-/ready").status_code == 200, "Alertmanager is ready")
        yield running
    finally:
        process.kill()
        process.wait()


@contextmanager
def running_bridge(folder: Path, wecom: FakeWecom, *words: str, **environment: str) -> Iterator[RunningServer]:
    """The real command, with a deadline of a second."""
    (folder / "robot").write_text(wecom.robot_url)
    (folder / "wecom_bridge_token").write_text("a-token-of-the-tests\n")
    words = (f"--token-file={folder / 'wecom_bridge_token'}", *words)
    words = ("--robot-url-file", str(folder / "robot"), "--deadline-seconds", "1", *words)
    with running_server(*words, command=("-m", "ccmusic.cli", "wecom-bridge"), **environment) as bridge:
        wait_until(lambda: httpx.get(f"{bridge.url}/livez").status_code == 200, "the bridge is alive")
        yield bridge


def mail_words(smtp: FakeSmtp, security: str = "none") -> tuple[str, ...]:
    """The bridge's flags for a mail server."""
    flags = {
        "host": "localhost",
        "port": smtp.port,
        "security": security,
        "from": "a@example.com",
        "to": "b@example.com",
    }
    return tuple(f"--smtp-{name}={value}" for name, value in flags.items())


def bridge_at(url: str) -> dict[str, str]:
    """Where the bridge is."""
    return {"http://wecom-bridge:7861": url}


def mail_at(smtp: FakeSmtp) -> dict[str, str]:
    """A mail server with neither TLS nor users."""
    return {
        "smtp.example.com:587": f"127.0.0.1:{smtp.port}",
        "smtp_require_tls: true": "smtp_require_tls: false",
        "  smtp_auth_username: ccmusic@example.com  # EDIT\n": "",
        "  smtp_auth_password_file: ": "  # ",
    }


@pytest.fixture
def wecom():
    with FakeWecom() as running:
        yield running


@pytest.fixture
def smtp():
    with FakeSmtp() as running:
        yield running


# the files alone


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_amtool_accepts_it(name):
    done = subprocess.run(["amtool", "check-config", FOLDER / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_no_secret_is_in_it(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    for value in re.findall(r"^\s*(?:\w*password|\w*secret|\w*token|credentials): (.*)$", text, re.MULTILINE):
        assert value.startswith("'{{ template")


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize(("alertname", "receivers"), RECEIVERS.items())
def test_every_alert_has_its_receivers(name, alertname, receivers):
    for severity in ("critical", "warning", "none"):
        words = ["amtool", "config", "routes", "test", "--config.file", FOLDER / name]
        words += [f"alertname={alertname}", f"severity={severity}", "service=ccmusic", f"instance={INSTANCE}"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert done.stdout.strip().split(",") == receivers


def test_the_table_has_every_shipped_rule():
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    names = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert names == set(RECEIVERS)


def test_the_application_changes_only_the_first_channel():
    robot, application = (yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")) for name in CONFIGURATIONS)
    for configuration in (robot, application):
        configuration["receivers"] = [entry for entry in configuration["receivers"] if entry["name"] != "wecom"]
        del configuration["templates"]
    assert robot == application


# the group robot


def test_an_alert_and_its_end_reach_the_group(tmp_path, wecom):
    with running_bridge(tmp_path, wecom) as bridge, running_alertmanager(tmp_path, changes=bridge_at(bridge.url)) as am:
        am.post(alert("CcmusicRed"))
        wait_until(lambda: len(wecom.robot_messages) == 1, "the group has the alert")
        text = wecom.robot_texts[0]
        assert '<font color="warning">告警 FIRING</font> **CcmusicRed** 严重 critical' in text
        assert ">找不到模型文件：/models/a\n" in text
        assert ">Model file not found: /models/a\n" in text
        assert "(https://runbooks.example.com/CcmusicRed.md)" in text
        assert "+08:00" in text
        am.post(alert("CcmusicRed", resolved=True))
        wait_until(lambda: len(wecom.robot_messages) == 2, "the group has its end")
        assert '<font color="info">已恢复 RESOLVED</font> **CcmusicRed**' in wecom.robot_texts[1]
        assert "5 分" in wecom.robot_texts[1]


def test_the_bridge_takes_no_alert_without_the_token(tmp_path, wecom):
    with running_bridge(tmp_path, wecom) as bridge:
        for path in ("/alerts", "/heartbeat"):
            assert httpx.post(bridge.url + path, json={}).status_code == 401


def test_the_watchdog_is_a_heartbeat_and_no_message(tmp_path, wecom):
    def age() -> float:
        text = httpx.get(f"{bridge.url}/metrics").text
        return float(re.search(r"^ccmusic_heartbeat_age_seconds (\S+)$", text, re.MULTILINE)[1])

    with running_bridge(tmp_path, wecom) as bridge:
        wait_until(lambda: age() > 2, "time has passed since the start")
        with running_alertmanager(
            tmp_path, changes=bridge_at(bridge.url) | {"repeat_interval: 50s": "repeat_interval: 2s"}
        ) as am:
            am.post(alert("CcmusicWatchdog", severity="none", instance=""))
            wait_until(lambda: age() < 1, "the heartbeat came")
            wait_until(lambda: age() > 1.5, "time has passed since the heartbeat")
            wait_until(lambda: age() < 1, "it came again")
    assert wecom.robot_messages == []


# the second channel


def test_without_wecom_the_bridge_sends_a_mail(tmp_path, wecom, smtp):
    with (
        running_bridge(tmp_path, wecom, *mail_words(smtp)) as bridge,
        running_alertmanager(tmp_path, changes=bridge_at(bridge.url)) as am,
    ):
        wecom.stop()
        am.post(alert("CcmusicRed"))
        wait_until(lambda: len(smtp.mails) == 1, "the mail is there")
        assert smtp.mails[0]["Subject"] == "[告警 FIRING] CcmusicRed"
        assert "找不到模型文件：/models/a" in smtp.texts[0]
        assert "Model file not found: /models/a" in smtp.texts[0]
        # for Alertmanager that is a success: nothing is told twice
        assert am.metric("alertmanager_notification_requests_failed_total", "webhook") == 0
        wecom.start()
        am.post(alert("CcmusicRed", resolved=True))
        wait_until(lambda: len(wecom.robot_messages) == 1, "the group has its end")


def test_alertmanager_retries_until_one_channel_works(tmp_path, wecom):
    with running_bridge(tmp_path, wecom) as bridge, running_alertmanager(tmp_path, changes=bridge_at(bridge.url)) as am:
        wecom.stop()
        am.post(alert("CcmusicRed"))
        wait_until(
            lambda: am.metric("alertmanager_notification_requests_failed_total", "webhook") > 0, "a failure is counted"
        )
        wecom.start()
        wait_until(lambda: len(wecom.robot_messages) == 1, "the group has the alert")
        assert "CcmusicRed" in wecom.robot_texts[0]


def test_a_dead_bridge_is_counted_and_reported_by_mail(tmp_path, wecom, smtp):
    with (
        running_bridge(tmp_path, wecom) as bridge,
        running_alertmanager(tmp_path, changes=bridge_at(bridge.url) | mail_at(smtp)) as am,
    ):
        bridge.process.kill()
        bridge.process.wait()
        am.post(alert("CcmusicRed"))
        wait_until(
            lambda: am.metric("alertmanager_notification_requests_failed_total", "webhook") > 1,
            "failures are counted",
        )
        assert smtp.mails == []
        am.post(alert("CcmusicNotificationsFailing", instance="alertmanager:9093"))  # what the rule makes of it
        wait_until(lambda: len(smtp.mails) == 1, "the mail is there")
        mail = smtp.mails[0]
        assert mail["Subject"] == "[告警 FIRING:1] CcmusicNotificationsFailing alertmanager:9093"
        assert mail["X-Envelope-To"] == "oncall@example.com"
        page = mail.get_body(("html",)).get_content()
        for text in (smtp.texts[0], page):
            assert "找不到模型文件：/models/a" in text
            assert "Model file not found: /models/a" in text
            assert "https://runbooks.example.com/CcmusicNotificationsFailing.md" in text
            assert "自 Since: " in text
        am.post(alert("CcmusicNotificationsFailing", instance="alertmanager:9093", resolved=True))
        wait_until(lambda: len(smtp.mails) == 2, "the end is there")
        assert smtp.mails[1]["Subject"].startswith("[已恢复 RESOLVED] ")
        assert "恢复于 Resolved: " in smtp.texts[1]


def test_a_label_cannot_forge_text_in_alertmanagers_mail(tmp_path, smtp):
    with running_alertmanager(tmp_path, changes=mail_at(smtp)) as am:
        forged = alert("CcmusicNotificationsFailing", instance='<a href="https://evil.example.com">x</a>\r\nBcc: c@d.e')
        forged["annotations"]["runbook_url"] = "javascript:alert(1)"
        am.post(forged)
        wait_until(lambda: len(smtp.mails) == 1, "the mail is there")
        page = smtp.mails[0].get_body(("html",)).get_content()
        assert '<a href="https://evil' not in page
        assert 'href="javascript' not in page
        assert smtp.mails[0]["Bcc"] is None
        assert smtp.mails[0]["X-Envelope-To"] == "oncall@example.com"


@pytest.fixture
def certificate(tmp_path):
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*words.split(), "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


def test_both_mails_over_starttls_with_a_password_from_a_file(tmp_path, wecom, certificate):
    password = tmp_path / "smtp_password"
    password.write_text(PASSWORD)  # no line end: Alertmanager 0.25 takes it for a part of the password
    with FakeSmtp(user="ccmusic@example.com", password=PASSWORD, certificate=certificate) as smtp:
        changes = {
            "smtp.example.com:587": f"localhost:{smtp.port}",
            "/run/secrets/smtp_password": str(password),
            "to: oncall@example.com": f"tls_config: {{ca_file: {certificate[0]}}}\n        to: oncall@example.com",
        }
        words = (*mail_words(smtp, "starttls"), "--smtp-user=ccmusic@example.com", f"--smtp-password-file={password}")
        wecom.stop()
        with (
            running_bridge(tmp_path, wecom, *words, SSL_CERT_FILE=str(certificate[0])) as bridge,
            running_alertmanager(tmp_path, changes=bridge_at(bridge.url) | changes) as am,
        ):
            am.post(alert("CcmusicRed"))
            wait_until(lambda: len(smtp.mails) == 1, "the bridge's mail is there")
            am.post(alert("CcmusicNotificationsFailing"))
            wait_until(lambda: len(smtp.mails) == 3, "Alertmanager's mail is there, and the bridge's")
            assert PASSWORD not in am.log.read_text()
        assert sorted(mail["X-Envelope-To"] for mail in smtp.mails) == [
            "b@example.com",
            "b@example.com",
            "oncall@example.com",
        ]


# a WeCom application in place of the group robot


@contextmanager
def application(folder: Path, wecom: FakeWecom, group_wait: str = "50ms") -> Iterator[Alertmanager]:
    secret = folder / "wecom_application.tmpl"
    values = {"wecom.corp_id": CORP_ID, "wecom.api_secret": SECRET}
    secret.write_text("".join(f'{{{{ define "{name}" }}}}{value}{{{{ end }}}}' for name, value in values.items()))
    changes = {
        "/run/secrets/wecom_application.tmpl": str(secret),
        "https://qyapi.weixin.qq.com/cgi-bin/": wecom.api_url,
    }
    with running_alertmanager(folder, "wecom-application.yml", changes, group_wait) as am:
        yield am


def test_an_application_sends_the_alert_and_its_end(tmp_path, wecom):
    with application(tmp_path, wecom) as am:
        am.post(alert("CcmusicRed"))
        wait_until(lambda: len(wecom.application_messages) == 1, "the application has the alert")
        message, text = wecom.application_messages[0], wecom.application_texts[0]
        assert (message["agentid"], message["toparty"], message["msgtype"]) == ("1000002", "2", "text")
        for words in (
            "【告警 FIRING】CcmusicRed · 严重 critical",
            "找不到模型文件",
            "Model file not found",
            "Runbook: https://",
        ):
            assert words in text
        am.post(alert("CcmusicRed", resolved=True))
        wait_until(lambda: len(wecom.application_messages) == 2, "the application has its end")
        assert "【已恢复 RESOLVED】CcmusicRed" in wecom.application_texts[1]
        assert SECRET not in am.log.read_text()
        assert SECRET not in httpx.get(f"{am.url}/api/v2/status").text


def test_an_application_sends_the_first_of_many_and_labels_cannot_forge(tmp_path, wecom):
    with application(tmp_path, wecom, group_wait="3s") as am:
        alerts = [alert("CcmusicRed", check=f"check{number}") for number in range(5)]
        for body in alerts:
            body["annotations"]["description"] = '<a href="https://evil.example.com">' + "😀" * 500
        am.post(*alerts)
        wait_until(lambda: len(wecom.application_messages) == 1, "the application has the alerts")
        text = wecom.application_texts[0]
        assert text.startswith("CCMusic: 5 告警 firing, 0 恢复 resolved, 写出前 3 条")
        assert "<" not in text
        assert "Alertmanager: http" in text


# inhibition


@pytest.mark.parametrize(
    ("posted", "silenced"),
    [
        # everything about the instance that is down, about the service as a whole, and seen from outside
        (
            [
                alert("CcmusicDown"),
                alert("CcmusicRed"),
                alert("CcmusicSlow", instance="", severity="warning"),
                alert("CcmusicProbeFails", instance=PROBED),
                alert("CcmusicWatchdog", instance="", severity="none"),
                alert("CcmusicNotificationsFailing", instance="alertmanager:9093"),
            ],
            {"CcmusicRed", "CcmusicSlow", "CcmusicProbeFails"},
        ),
        # another instance, another service, or nothing known but that it restarts
        ([alert("CcmusicDown", instance="ccmusic-2:7860"), alert("CcmusicRed")], set()),
        ([alert("CcmusicDown"), alert("CcmusicRed", service="another")], set()),
        ([alert("CcmusicDown", symptom="restarting"), alert("CcmusicRed")], set()),
        # no instance is left
        ([alert("CcmusicDown", instance="", symptom="missing"), alert("CcmusicQueueOld")], {"CcmusicQueueOld"}),
        (
            [
                alert("CcmusicRed"),
                alert("CcmusicNotReady"),
                alert("CcmusicProbeFails", instance=PROBED),
                alert("CcmusicSlow"),
            ],
            {"CcmusicNotReady", "CcmusicProbeFails"},
        ),
        ([alert("CcmusicRed", instance="ccmusic-2:7860"), alert("CcmusicNotReady")], set()),
        ([alert("CcmusicRed", check="page"), alert("CcmusicPageFails", severity="warning")], {"CcmusicPageFails"}),
        ([alert("CcmusicRed", check="disk"), alert("CcmusicPageFails", severity="warning")], set()),
        (
            [
                alert("CcmusicErrorBudgetFastBurn", instance=""),
                alert("CcmusicErrorBudgetSlowBurn", instance=""),
                alert("CcmusicErrorBudgetTrickle", instance="", severity="warning"),
            ],
            {"CcmusicErrorBudgetSlowBurn", "CcmusicErrorBudgetTrickle"},
        ),
        (
            [alert("CcmusicErrorBudgetSlowBurn", instance=""), alert("CcmusicErrorBudgetTrickle", instance="")],
            {"CcmusicErrorBudgetTrickle"},
        ),
    ],
)
def test_inhibition(tmp_path, posted, silenced):
    with running_alertmanager(tmp_path) as am:
        am.post(*posted)
        wait_until(lambda: am.suppressed() == silenced, f"only {silenced} are silenced: {am.suppressed()}")


def test_a_silenced_alert_is_not_sent(tmp_path, wecom):
    with running_bridge(tmp_path, wecom) as bridge, running_alertmanager(tmp_path, changes=bridge_at(bridge.url)) as am:
        am.post(alert("CcmusicDown"))
        wait_until(lambda: len(wecom.robot_messages) == 1, "the group has the alert")
        am.post(alert("CcmusicRed"), alert("CcmusicRed", instance="ccmusic-2:7860"))
        wait_until(lambda: len(wecom.robot_messages) == 2, "the group has what is not silenced")
        assert "`ccmusic-2:7860`" in wecom.robot_texts[1]
        am.post(alert("CcmusicDown", resolved=True))
        wait_until(
            lambda: any(
                f"**CcmusicRed** 严重 critical\n>{INSTANCE}" in text and f"`{INSTANCE}`" in text
                for text in wecom.robot_texts
            ),
            "the rest follows",
        )
