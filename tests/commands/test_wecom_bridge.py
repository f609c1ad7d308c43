"""The bridge and the fake WeCom and mail servers, each as a process."""

import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from alerting.webhooks import alert_body, webhook_body
from ccmusic.alerting.settings import BridgeSettings
from ccmusic.cli import main
from ccmusic.commands.exit_codes import ExitCode
from support.fake_wecom import KEY
from support.running_server import running_server
from support.waiting import PATIENCE_SECONDS, wait_until

SUPPORT = Path(__file__).parents[1] / "support"


@contextmanager
def stand_in(name, log):
    command = [sys.executable, SUPPORT / f"{name}.py", "--port", "0", "--log", log]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline()
        finally:
            process.terminate()


def test_from_alert_to_message_and_mail(tmp_path):
    received, mails = tmp_path / "received.jsonl", tmp_path / "mails.jsonl"
    with stand_in("fake_wecom", received) as wecom, stand_in("fake_smtp", mails) as smtp:
        robot_url = wecom.split()[1]
        (tmp_path / "robot").write_text(robot_url)
        environment = {
            "CCMUSIC_BRIDGE_ROBOT_URL_FILE": str(tmp_path / "robot"),
            "CCMUSIC_BRIDGE_SMTP_HOST": "127.0.0.1",
            "CCMUSIC_BRIDGE_SMTP_PORT": re.search(r"\d+$", smtp)[0],
            "CCMUSIC_BRIDGE_SMTP_SECURITY": "none",
            "CCMUSIC_BRIDGE_SMTP_FROM": "a@example.com",
            "CCMUSIC_BRIDGE_SMTP_TO": "b@example.com",
        }
        arguments = ("--mention", "zhangsan", "--timezone", "UTC", "--deadline-seconds", "60")
        with running_server(*arguments, command=("-m", "ccmusic.cli", "wecom-bridge"), **environment) as bridge:
            assert httpx.post(f"{bridge.url}/alerts", json=webhook_body()).json() == {"outcome": "delivered"}
            (sent,) = map(json.loads, received.read_text().splitlines())
            assert sent["content"].endswith("<@zhangsan>")
            assert "02:05:03+00:00" in sent["content"]
            httpx.post(robot_url.partition("/cgi-bin")[0] + "/control", json={"errcode": 93000})
            another = webhook_body(alert_body("Another"))
            assert httpx.post(f"{bridge.url}/alerts", json=another).json() == {"outcome": "mailed"}
            (mail,) = map(json.loads, mails.read_text().splitlines())
            assert (mail["to"], mail["subject"]) == (["b@example.com"], "[告警 FIRING] Another")
            bridge.process.send_signal(signal.SIGTERM)
            assert bridge.process.wait(PATIENCE_SECONDS) == 0
            assert KEY not in bridge.process.stdout.read()


def test_a_message_that_is_being_sent_does_not_delay_the_end(tmp_path):
    with stand_in("fake_wecom", tmp_path / "received.jsonl") as wecom:
        url = wecom.split()[1]
        (tmp_path / "robot").write_text(url)
        server = url.partition("/cgi-bin")[0]
        httpx.post(f"{server}/control", json={"delay_seconds": 2 * PATIENCE_SECONDS})
        arguments = ("--robot-url-file", str(tmp_path / "robot"))
        with running_server(*arguments, command=("-m", "ccmusic.cli", "wecom-bridge")) as bridge:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{bridge.url}/alerts", json=webhook_body(), timeout=1)
            bridge.process.send_signal(signal.SIGTERM)
            wait_until(lambda: bridge.process.poll() is not None, "the bridge has ended")
            assert bridge.process.returncode == 0


# flags


@pytest.fixture
def given(monkeypatch):
    """The settings with which the bridge would serve."""
    seen = []
    monkeypatch.setattr("ccmusic.alerting.server.serve", lambda settings, announce: seen.append(settings))
    return seen


def test_every_setting_is_a_flag(given, tmp_path):
    values = {
        "host": "127.0.0.1", "port": 1, "token_file": tmp_path, "robot_url_file": tmp_path, "mention": ("a", "b"),
        "timezone": "UTC", "deadline_seconds": 1.5, "per_minute": 2, "remember_seconds": 3.0, "heartbeat_seconds": 4.0,
        "smtp_host": "mail", "smtp_port": 5, "smtp_security": "tls", "smtp_from": "a@b", "smtp_to": ("c@d", "e@f"),
        "smtp_user": "me", "smtp_password_file": tmp_path,
    }  # fmt: skip
    assert set(values) == set(BridgeSettings.model_fields)
    flags = []
    for name, value in values.items():
        flags += [f"--{name.replace('_', '-')}", ",".join(value) if isinstance(value, tuple) else str(value)]
    assert main(["wecom-bridge", *flags]) == ExitCode.OK
    assert given[0].model_dump() == values


def test_a_flag_takes_precedence_over_its_variable(given, monkeypatch):
    monkeypatch.setenv("CCMUSIC_BRIDGE_ROBOT_URL_FILE", "robot")
    monkeypatch.setenv("CCMUSIC_BRIDGE_PORT", "1")
    assert main(["wecom-bridge", "--port", "2"]) == ExitCode.OK
    assert (given[0].port, str(given[0].robot_url_file)) == (2, "robot")


@pytest.mark.parametrize("flags", [["--port", "x"], ["--deadline-seconds", "x"], ["--smtp-security", "ssl"]])
def test_a_value_of_another_type_is_a_usage_error(flags):
    with pytest.raises(SystemExit) as end:
        main(["wecom-bridge", *flags])
    assert end.value.code == ExitCode.USAGE


def test_the_help_lists_every_flag_with_its_default(capsys):
    with pytest.raises(SystemExit):
        main(["wecom-bridge", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(f"--{name.replace('_', '-')} " in text for name in BridgeSettings.model_fields)
    assert "(required)" in text
    assert "(default: 7861)" in text
    assert "(default: Asia/Shanghai)" in text
