"""The whole way from a fault to a person, of the real programs with the shipped configuration.

Service, blackbox exporter, Prometheus, Alertmanager and the bridge run as they are shipped; WeCom and the mail server
are stand-ins that speak their protocols. Changed in the configuration are addresses and the mail account, and for a
fast run the times.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

import ccmusic
from deploy.real_prometheus import RealPrometheus, real_blackbox, real_prometheus, running_program
from support.fake_smtp import FakeSmtp
from support.fake_wecom import FakeWecom
from support.running_server import RunningServer, running_server
from support.waiting import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
EMBEDDED = Path(ccmusic.__file__).parent / "models" / "embedded"
ALERTMANAGER = "prometheus-alertmanager"

_DURATION = re.compile(
    r"\b(for|scrape_interval|scrape_timeout|evaluation_interval|group_wait|group_interval|repeat_interval): "
    r"(\d+)(ms|s|m|h|d)\b"
)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Times:
    """How the shipped times are used.

    Attributes
    ----------
    name : str
    divisor : float
        Every interval and every `for` of the shipped configuration is divided by this, down to a second.
    bridge_deadline_seconds : float
        How long the bridge tries WeCom before it sends a mail; 30 as shipped.
    patience_seconds : float
        How long a test waits for one step.
    """

    name: str
    divisor: float
    bridge_deadline_seconds: float
    patience_seconds: float

    def scaled(self, text: str) -> str:
        """A configuration with its times."""

        def shorter(found: re.Match[str]) -> str:
            seconds = float(found[2]) * _SECONDS[found[3]]
            return f"{found[1]}: {max(min(seconds, 1.0), seconds / self.divisor) * 1000:.0f}ms"

        return text if self.divisor == 1 else _DURATION.sub(shorter, text)


SHIPPED = Times("as shipped", 1, 30.0, 400.0)
SHORT = Times("short", 15, 2.0, 90.0)


@dataclass
class Chain:
    """The running programs."""

    server: RunningServer
    prometheus: RealPrometheus
    alertmanager: str
    bridge: subprocess.Popen[bytes]
    wecom: FakeWecom
    smtp: FakeSmtp
    model: Path
    times: Times
    steps: list[tuple[str, float]] = field(default_factory=list)

    def wait(self, condition: Callable[[], Any], words: str, since: float | None = None) -> float:
        """Wait for a step, note its seconds since a moment of the monotonic clock, and return them."""
        wait_until(condition, words, timeout_seconds=self.times.patience_seconds)
        seconds = 0.0 if since is None else time.monotonic() - since
        if since is not None:
            self.steps.append((words, seconds))
        return seconds

    def alert_states(self, name: str) -> set[str]:
        """``pending`` or ``firing``, of one alert's instances in Prometheus."""
        return {alert["state"] for alert in self.prometheus.alerts() if alert["labels"]["alertname"] == name}

    def told(self, *words: str) -> bool:
        """Whether one message to the robot has all these words."""
        return any(all(word in text for word in words) for text in self.wecom.robot_texts)

    def mailed(self, *words: str) -> bool:
        """Whether one mail has all these words."""
        return any(all(word in text for word in words) for text in self.smtp.texts)

    def metric(self, expression: str) -> float | None:
        """One value out of Prometheus."""
        return self.prometheus.value(expression)


@contextlib.contextmanager
def alert_chain(folder: Path, times: Times) -> Iterator[Chain]:
    """Start everything, give it once every target is up and nothing fires but the watchdog, stop it in the end."""
    model = folder / "model"
    shutil.copytree(EMBEDDED, model)
    with contextlib.ExitStack() as stack:
        wecom = stack.enter_context(FakeWecom())
        smtp = stack.enter_context(FakeSmtp())
        bridge, bridge_address = stack.enter_context(_bridge(folder, times, wecom, smtp))
        alertmanager = stack.enter_context(_alertmanager(folder / "alertmanager", times, bridge_address, smtp))
        server = stack.enter_context(running_server("--no-page", CCMUSIC_MODEL=str(model), CCMUSIC_WORKERS="1"))
        server.wait_healthy()
        blackbox = stack.enter_context(
            real_blackbox((DEPLOY / "prometheus/blackbox.yml").read_text(encoding="utf-8"), folder / "blackbox")
        )
        prometheus = stack.enter_context(
            _prometheus(
                folder / "prometheus",
                times,
                {
                    "ccmusic:7860": server.url.removeprefix("http://"),
                    "blackbox:9115": blackbox,
                    "alertmanager:9093": alertmanager,
                    "wecom-bridge:7861": bridge_address,
                },
            )
        )
        chain = Chain(server, prometheus, alertmanager, bridge, wecom, smtp, model, times)
        chain.wait(lambda: all_up(prometheus), "every target is up")
        chain.wait(lambda: chain.metric('probe_success{job="ccmusic"}') == 1, "the probe succeeds")
        chain.wait(lambda: firing(prometheus) == {"CcmusicWatchdog"}, "nothing fires but the watchdog")
        yield chain


def all_up(prometheus: RealPrometheus) -> bool:
    """Whether every target of the shipped configuration was reached."""
    targets = prometheus.targets()
    return bool(targets) and all(target["health"] == "up" for target in targets)


def firing(prometheus: RealPrometheus) -> set[str]:
    """Names of the alerts that fire."""
    return {alert["labels"]["alertname"] for alert in prometheus.alerts() if alert["state"] == "firing"}


def replaced(text: str, addresses: dict[str, str]) -> str:
    """A configuration with other addresses; each must be in it."""
    for name, address in addresses.items():
        if name not in text:
            raise AssertionError(f"{name} is not in the shipped configuration")
        text = text.replace(name, address)
    return text


@contextlib.contextmanager
def _prometheus(folder: Path, times: Times, addresses: dict[str, str]) -> Iterator[RealPrometheus]:
    shipped = times.scaled((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    files = {
        f"rules/{path.name}": times.scaled(path.read_text(encoding="utf-8"))
        for path in sorted((DEPLOY / "prometheus/rules").glob("*.rules.yml"))
    }
    config = replaced(shipped, addresses)
    folder.mkdir(parents=True)
    with real_prometheus(config, folder, files) as prometheus:
        # its own address is known only now
        own = config.replace("prometheus:9090", prometheus.url.removeprefix("http://"))
        (folder / "prometheus.yml").write_text(own, encoding="utf-8")
        prometheus.process.send_signal(signal.SIGHUP)
        yield prometheus


@contextlib.contextmanager
def _alertmanager(folder: Path, times: Times, bridge: str, smtp: FakeSmtp) -> Iterator[str]:
    shutil.copytree(DEPLOY / "alertmanager/templates", folder / "templates")
    shipped = times.scaled((DEPLOY / "alertmanager/alertmanager.yml").read_text(encoding="utf-8"))
    changes = {
        "wecom-bridge:7861": bridge,
        "smtp.example.com:587": f"127.0.0.1:{smtp.port}",
        "/run/secrets/wecom_bridge_token": str(folder.parent / "wecom_bridge_token"),
    }
    config = replaced(shipped, changes)
    # the stand-in has neither a certificate that anyone signed nor accounts
    config = re.sub(r"^  smtp_auth_\w+: .*\n", "", config, flags=re.MULTILINE)
    config = config.replace("smtp_require_tls: true", "smtp_require_tls: false")
    path = folder / "alertmanager.yml"
    path.write_text(config, encoding="utf-8")
    words = [f"--config.file={path}", f"--storage.path={folder / 'data'}", "--cluster.listen-address="]
    with running_program([ALERTMANAGER, *words], folder / "alertmanager.log") as (address, _):
        yield address


@contextlib.contextmanager
def _bridge(
    folder: Path, times: Times, wecom: FakeWecom, smtp: FakeSmtp
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    (folder / "robot").write_text(wecom.robot_url, encoding="utf-8")
    (folder / "wecom_bridge_token").write_text("a-token-of-the-tests", encoding="utf-8")
    flags = {
        "host": "127.0.0.1",
        "port": 0,
        "robot-url-file": folder / "robot",
        "token-file": folder / "wecom_bridge_token",
        "deadline-seconds": times.bridge_deadline_seconds,
        "smtp-host": "127.0.0.1",
        "smtp-port": smtp.port,
        "smtp-security": "none",
        "smtp-from": "ccmusic@example.com",
        "smtp-to": "oncall@example.com",
    }
    words = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    log = (folder / "bridge.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "ccmusic.cli", "wecom-bridge", *words], stdout=subprocess.PIPE, stderr=log
    )
    try:
        line = process.stdout.readline().decode()
        found = re.search(r"127\.0\.0\.1:\d+", line)
        if found is None:
            raise AssertionError(f"the bridge did not name its address: {line!r}")
        address = found[0]
        wait_until(lambda: httpx.get(f"http://{address}/livez").status_code == 200, "the bridge answers")
        yield process, address
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.stdout.close()
            log.close()
