"""The bridge as a process, and the stand-ins as processes, for whoever tries the chain by hand."""

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
from support.fake_wecom import KEY
from support.running_server import running_server
from support.waiting import wait_until

SUPPORT = Path(__file__).parents[1] / "support"


@contextmanager
def stand_in(name, log):
    words = [sys.executable, SUPPORT / f"{name}.py", "--port", "0", "--log", log]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline()
        finally:
            process.terminate()


def test_the_whole_way_of_processes(tmp_path):
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
        words = ("--mention", "zhangsan", "--timezone", "UTC", "--deadline-seconds", "1")
        with running_server(*words, command=("-m", "ccmusic.cli", "wecom-bridge"), **environment) as bridge:
            assert httpx.post(f"{bridge.url}/alerts", json=webhook_body()).json() == {"outcome": "delivered"}
            (told,) = map(json.loads, received.read_text().splitlines())
            assert told["content"].endswith("<@zhangsan>")
            assert "02:05:03+00:00" in told["content"]
            httpx.post(robot_url.partition("/cgi-bin")[0] + "/control", json={"errcode": 93000})
            another = webhook_body(alert_body("Another"))
            assert httpx.post(f"{bridge.url}/alerts", json=another).json() == {"outcome": "mailed"}
            (mail,) = map(json.loads, mails.read_text().splitlines())
            assert (mail["to"], mail["subject"]) == (["b@example.com"], "[告警 FIRING] Another")
            bridge.process.send_signal(signal.SIGTERM)
            assert bridge.process.wait(20) == 0
            assert KEY not in bridge.process.stdout.read()


def test_a_message_that_is_being_sent_does_not_hold_up_the_end(tmp_path):
    with stand_in("fake_wecom", tmp_path / "received.jsonl") as wecom:
        url = wecom.split()[1]
        (tmp_path / "robot").write_text(url)
        server = url.partition("/cgi-bin")[0]
        httpx.post(f"{server}/control", json={"delay_seconds": 60})
        words = ("--robot-url-file", str(tmp_path / "robot"))
        with running_server(*words, command=("-m", "ccmusic.cli", "wecom-bridge")) as bridge:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{bridge.url}/alerts", json=webhook_body(), timeout=1)
            bridge.process.send_signal(signal.SIGTERM)
            wait_until(lambda: bridge.process.poll() is not None, "the bridge has ended", 20)
            assert bridge.process.returncode == 0
