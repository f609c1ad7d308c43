"""The running service under something that does as systemd does, and systemd's own judgement of the units."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from ccmusic.serving.server import latest_end_seconds
from ccmusic.settings import Settings
from deploy.notify_socket import NotifySocket
from support.waiting import wait_until

UNITS = Path(__file__).parents[2] / "deploy/systemd"
SERVICE = (UNITS / "ccmusic.service").read_text()
TOKEN = "drill"
READY, PING, STOPPING = "READY=1", "WATCHDOG=1", "STOPPING=1"
WATCHDOG_SECONDS = 4.0
MOST_EXPOSURE = 1.5
ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.deploy
analyzed = pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")


class Systemd:
    """Starts the service with a notification socket; kills it with SIGABRT when the pings stop, and restarts it.

    Parameters
    ----------
    heard : NotifySocket
    environment : dict
        Of the service, beside the shell's.
    """

    def __init__(self, heard: NotifySocket, environment: dict[str, str]) -> None:
        self.heard = heard
        self._environment = os.environ | environment | {"NOTIFY_SOCKET": heard.name}
        self.starts = 0
        self.aborts = 0
        self.process: subprocess.Popen[str]
        self._start()

    def _start(self) -> None:
        self.heard.forget()
        self.starts += 1
        # WATCHDOG_PID is this process's own until the service has taken its place, as systemd sets it
        script = 'export WATCHDOG_PID=$$; exec "$@"'
        self.process = subprocess.Popen(
            ["sh", "-c", script, "sh", sys.executable, "-m", "ccmusic.cli", "serve", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment | {"WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6))},
        )
        line = self.process.stdout.readline()
        self.url = re.search(r"http://127\.0\.0\.1:\d+", line)[0]

    def turn(self) -> None:
        """One turn of its loop: check the watchdog, and restart a service that has ended."""
        if self.heard.silent_seconds(PING) > WATCHDOG_SECONDS and self.process.poll() is None:
            self.aborts += 1
            self.process.send_signal(signal.SIGABRT)
            self.process.send_signal(signal.SIGCONT)  # as systemd does: a stopped process would not see the other
            self.process.wait(30)
        if self.process.poll() is not None:
            self.process.stdout.close()
            self._start()

    def turns_until_restarted(self) -> None:
        def restarted() -> bool:
            self.turn()
            return self.starts == 2 and self.healthy()

        wait_until(restarted, "it was started again and is green")

    def healthy(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health", timeout=2).status_code == 200
        return False

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def systemd(tmp_path, model_directory) -> Iterator[Systemd]:
    settings = {
        "CCMUSIC_HOST": "127.0.0.1",
        "CCMUSIC_PAGE": "false",
        "CCMUSIC_WORKERS": "1",
        "CCMUSIC_MODEL": str(model_directory),
        "CCMUSIC_FAULT_INJECTION": "true",
        "CCMUSIC_ADMIN_TOKEN": TOKEN,
    }
    with NotifySocket(str(tmp_path / "notify")) as heard:
        systemd = Systemd(heard, settings)
        try:
            yield systemd
        finally:
            systemd.end()


def test_it_notifies_start_state_and_liveness(systemd):
    heard = systemd.heard
    wait_until(lambda: heard.heard(READY), "ready")
    assert httpx.get(f"{systemd.url}/livez").status_code == 200, "who is ready answers"
    assert "Model is still loading..." in heard.status or heard.status == "ok"
    wait_until(lambda: heard.status == "ok", "the model is there")
    wait_until(lambda: heard.messages.count(PING) >= 3, "pings")
    assert systemd.aborts == 0


def test_a_stopped_process_is_ended_and_started_again(systemd):
    wait_until(systemd.healthy, "it is green")
    wait_until(lambda: systemd.heard.heard(PING), "a ping")
    systemd.process.send_signal(signal.SIGSTOP)
    systemd.turns_until_restarted()
    assert systemd.aborts == 1


def test_a_blocked_loop_is_ended_and_started_again(systemd):
    wait_until(systemd.healthy, "it is green")
    wait_until(lambda: systemd.heard.heard(PING), "a ping")
    headers = {"authorization": f"Bearer {TOKEN}"}
    httpx.post(f"{systemd.url}/debug/faults/block-loop?size=600", headers=headers).raise_for_status()
    wait_until(lambda: "event_loop: blocked for" in systemd.heard.status, "the status says why")
    systemd.turns_until_restarted()
    assert systemd.aborts == 1


def test_a_fault_that_a_restart_would_not_mend_causes_no_restart(systemd, model_directory, tmp_path):
    wait_until(lambda: systemd.heard.status == "ok", "it is green")
    headers = {"authorization": f"Bearer {TOKEN}"}
    httpx.post(f"{systemd.url}/debug/faults/exit-at-start", headers=headers).raise_for_status()
    httpx.post(f"{systemd.url}/debug/faults/kill", headers=headers).raise_for_status()
    wait_until(lambda: systemd.heard.status.startswith("Model loading failed: "), "no worker is left")
    pings = systemd.heard.messages.count(PING)
    wait_until(lambda: systemd.heard.messages.count(PING) >= pings + 3, "it lives all the same")
    systemd.turn()
    assert systemd.starts == 1


def test_the_drain_is_notified(systemd):
    wait_until(systemd.healthy, "it is green")
    assert not systemd.heard.heard(STOPPING)
    systemd.process.send_signal(signal.SIGTERM)
    assert systemd.process.wait(30) == 0
    assert systemd.heard.heard(STOPPING)
    assert systemd.heard.status.startswith("Health check failed: draining: ")


# the units


def setting(name: str, text: str = SERVICE) -> str:
    return re.search(rf"^{name}=(.*)$", text, re.MULTILINE)[1]


def test_the_times_of_the_unit_fit_those_of_the_service():
    settings = Settings()
    assert int(setting("TimeoutStopSec")) > latest_end_seconds(settings)
    # the first ping is due before the watchdog; a lag that /livez forgives must not end anything
    assert int(setting("WatchdogSec")) / 2 > settings.max_loop_lag_seconds


def test_exit_codes_that_a_restart_cannot_change_are_left_alone():
    from ccmusic.commands.exit_codes import ExitCode

    assert set(map(int, setting("RestartPreventExitStatus").split())) == {ExitCode.USAGE, ExitCode.SETTINGS}


def test_the_settings_of_the_example_are_settings():
    known = {f"CCMUSIC_{name.upper()}" for name in Settings.model_fields}
    names = re.findall(r"^#?([A-Z_]+)=", (UNITS / "ccmusic.env.example").read_text(), re.MULTILINE)
    assert names
    assert set(names) <= known


@pytest.fixture(params=sorted(UNITS.glob("*.service")), ids=lambda unit: unit.name)
def unit(request, tmp_path):
    """A unit whose program is there."""
    text = request.param.read_text()
    assert "/opt/ccmusic/bin/ccmusic" in text
    copy = tmp_path / request.param.name
    copy.write_text(text.replace("/opt/ccmusic/bin/ccmusic", sys.executable))
    return copy


@analyzed
def test_systemd_accepts_the_unit(unit):
    done = subprocess.run([ANALYZE, "verify", str(unit)], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert ours == []


@analyzed
def test_the_unit_is_confined(unit, capsys):
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", str(unit)], capture_output=True, text=True, check=False
    )
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)[1])
    with capsys.disabled():
        print(f"\n{unit.name}: exposure {exposure}")
    assert exposure <= MOST_EXPOSURE, done.stdout
