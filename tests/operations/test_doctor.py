"""The doctor on this machine, with the real service, and with small services that behave badly."""

import socket
import sys
import threading
from collections import namedtuple
from collections.abc import Callable

import pytest

from ccmusic import cli
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.health import failed
from ccmusic.health.memory import MemoryUse
from ccmusic.operations import machine
from ccmusic.operations.doctor import diagnose
from ccmusic.operations.drill import DrillOutcome, run_drill
from ccmusic.workers.fork_server import NotStarted
from support.bands_model import write_model
from support.ending_clock import LONG_SECONDS
from support.running_server import running_server
from support.stub_http import stub_http
from support.waiting import PATIENCE_SECONDS, wait_until

TOKEN = "secret"
GREEN = {
    "status": "ok",
    "service": "ccmusic-database",
    "version": "1",
    "uptime_seconds": 5.0,
    "checks": {"disk": {"status": "pass"}},
    "workers": [{"state": "idle"}],
    "restarts": {"total": 0},
}


@pytest.fixture
def lines():
    return []


@pytest.fixture(autouse=True)
def small_model(model_directory, monkeypatch):
    monkeypatch.setenv("CCMUSIC_MODEL", str(model_directory))
    monkeypatch.setenv("CCMUSIC_PAGE", "false")
    monkeypatch.setenv("CCMUSIC_PORT", "0")
    monkeypatch.setenv("CCMUSIC_WORKERS", "1")


@pytest.fixture(scope="module")
def server(model_directory):
    with running_server(
        "--no-page",
        CCMUSIC_MODEL=str(model_directory),
        CCMUSIC_WORKERS="2",
        CCMUSIC_ADMIN_TOKEN=TOKEN,
        CCMUSIC_FAULT_INJECTION="true",
        CCMUSIC_SELF_TEST_SECONDS="1",
        CCMUSIC_JOB_TIMEOUT_SECONDS="3",
    ) as running:
        running.wait_healthy()
        # one worker is enough for /health; a drill begins when all are up
        wait_until(lambda: "starting" not in running.health().text, "every worker is up")
        yield running


@pytest.fixture
def any_latency(monkeypatch):
    """A busy machine may be slower than a healthy service is; `test_a_slow_service` proves the bound."""
    monkeypatch.setattr("ccmusic.operations.doctor.BOUND_SECONDS", PATIENCE_SECONDS)


def verdicts(lines):
    """Verdict by name; the worst where a name has several."""
    order = ("ok", "warn", "FAIL")
    found = {}
    for line in lines:
        verdict, name = line.split(maxsplit=1)[0], line[6:21].strip()
        found[name] = max(found.get(name, "ok"), verdict, key=order.index)
    return found


def text_of(lines, name):
    return next(line[23:] for line in lines if line[6:21].strip() == name)


# this machine


def test_a_machine_that_can_serve(lines):
    assert diagnose(None, lines.append)
    found = verdicts(lines)
    assert set(found) == {
        "python", "libraries", "cores", "memory", "temporary files", "model", "port", "clock", "processes"
    }  # fmt: skip
    assert "FAIL" not in found.values()
    assert "onnxruntime " in text_of(lines, "libraries")
    assert "golden clips right" in text_of(lines, "model")


def test_a_bad_setting_is_named_and_the_other_checks_are_made(lines, monkeypatch):
    monkeypatch.setenv("CCMUSIC_PORT", "high")
    assert not diagnose(None, lines.append)
    assert "CCMUSIC_PORT" in text_of(lines, "settings")
    assert "python" in verdicts(lines)


@pytest.mark.parametrize(
    ("network", "reason"), [(None, "ModelFileNotFound"), (b"altered", "SHA-256")], ids=["missing", "altered"]
)
def test_a_bad_model(lines, monkeypatch, tmp_path, network, reason):
    directory = write_model(tmp_path / "model")
    if network is None:
        (directory / "model.onnx").unlink()
    else:
        (directory / "model.onnx").write_bytes(network)
    monkeypatch.setenv("CCMUSIC_MODEL", str(directory))
    assert not diagnose(None, lines.append)
    assert verdicts(lines)["model"] == "FAIL"
    assert reason in text_of(lines, "model")


def test_without_pyav_it_says_what_is_refused(lines, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)  # the import system finds it no more
    assert diagnose(None, lines.append)
    assert verdicts(lines)["av"] == "warn"
    assert "ccmusic[codecs]" in text_of(lines, "av")
    assert "av " not in text_of(lines, "libraries")


def test_a_library_that_cannot_be_imported(lines, monkeypatch):
    real = machine.importlib.import_module

    def broken(name, *rest):
        if name == "soxr":
            raise OSError("libsoxr.so: wrong architecture")
        return real(name, *rest)

    monkeypatch.setattr(machine.importlib, "import_module", broken)
    assert not diagnose(None, lines.append)
    assert "wrong architecture" in text_of(lines, "soxr")


def test_an_old_python(lines, monkeypatch):
    monkeypatch.setattr(machine.platform, "python_version_tuple", lambda: ("3", "9", "1"))
    assert not diagnose(None, lines.append)
    assert verdicts(lines)["python"] == "FAIL"


def test_a_port_that_another_program_uses(lines, monkeypatch):
    with stub_http(lambda method, path: (200, b"hello")) as url:
        monkeypatch.setenv("CCMUSIC_HOST", "127.0.0.1")
        monkeypatch.setenv("CCMUSIC_PORT", url.rpartition(":")[2])
        assert not diagnose(None, lines.append)
    assert "not CCMusic" in text_of(lines, "port")


def test_a_port_that_ccmusic_uses(lines, monkeypatch, server):
    monkeypatch.setenv("CCMUSIC_HOST", "127.0.0.1")
    monkeypatch.setenv("CCMUSIC_PORT", server.url.rpartition(":")[2])
    assert diagnose(None, lines.append)
    assert "answers on" in text_of(lines, "port")


def test_an_address_of_another_machine(lines, monkeypatch):
    monkeypatch.setenv("CCMUSIC_HOST", "192.0.2.1")  # reserved for documentation
    assert not diagnose(None, lines.append)
    assert verdicts(lines)["port"] == "FAIL"


def test_a_temporary_directory_that_cannot_be_written_to(lines, monkeypatch):
    class Full:
        observe = staticmethod(lambda: failed("no space left (ENOSPC) in /tmp"))

    monkeypatch.setattr("ccmusic.health.disk_check", lambda directory: Full)
    assert not diagnose(None, lines.append)
    assert "no space left" in text_of(lines, "temporary files")


def test_a_full_disk_little_memory_and_many_workers_are_warnings(lines, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda directory: usage(100, 99, 1))
    monkeypatch.setattr("ccmusic.health.memory.memory_use", lambda: MemoryUse(2**30, 2**30 + 1, "cgroup"))
    monkeypatch.setenv("CCMUSIC_WORKERS", "200")
    assert diagnose(None, lines.append)
    found = verdicts(lines)
    assert (found["temporary files"], found["memory"], found["cores"]) == ("warn", "warn", "warn")


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_cpu_quota(tmp_path, files, quota):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.cpu_quota(tmp_path) == quota


def test_a_clock_that_runs_backwards(lines, monkeypatch):
    class Clock:
        """A clock that goes back once, by a microsecond."""

        readings = iter([1e6, 1e6 - 1e-6])

        def monotonic(self):
            return next(self.readings, None) or machine_time.monotonic() + 1e6

        def __getattr__(self, name):
            return getattr(machine_time, name)

    machine_time = machine.time
    monkeypatch.setattr(machine, "time", Clock())
    assert not diagnose(None, lines.append)
    assert verdicts(lines)["clock"] == "FAIL"


def test_a_process_that_does_not_start(lines, monkeypatch):
    def refuse(*_):
        raise NotStarted("no process can be started")

    monkeypatch.setattr("ccmusic.workers.fork_server.ForkServer.fork", refuse)
    assert not diagnose(None, lines.append)
    assert verdicts(lines)["processes"] == "FAIL"


def test_a_process_that_ends_with_an_error(lines, monkeypatch):
    monkeypatch.setattr("ccmusic.workers.worker_process.try_out", lambda _: 1)
    assert not diagnose(None, lines.append)
    assert verdicts(lines)["processes"] == "FAIL"


def test_a_check_that_raises_has_failed(lines, monkeypatch):
    def broken(settings):
        raise RuntimeError("cannot check")
        yield

    monkeypatch.setattr("ccmusic.operations.doctor.MACHINE_CHECKS", (broken,))
    assert not diagnose(None, lines.append)
    assert "cannot check" in lines[0]


# a running service


@pytest.mark.usefixtures("any_latency")
def test_a_healthy_service(lines, server):
    assert diagnose(server.url, lines.append)
    found = verdicts(lines)
    assert [found[name] for name in ("/startupz", "/livez", "/readyz", "/health", "service")] == ["ok"] * 5
    assert "50 calls of /health" in text_of(lines, "latency")


@pytest.mark.usefixtures("any_latency")
def test_the_command(server, capsys):
    assert cli.main(["doctor", "--url", server.url]) == ExitCode.OK
    assert "/livez" in capsys.readouterr().out


def test_a_service_that_does_not_run(lines):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    assert not diagnose(url, lines.append)
    assert "is it running" in text_of(lines, "/livez")


def test_a_service_with_failing_checks(lines):
    checks = {
        "disk": {"status": "fail", "cause": "no space left"},
        "speed": {"status": "warn", "cause": "slow"},
        "model": {"status": "pass"},
    }
    body = GREEN | {"status": "error", "message": "Health check failed: disk: no space left", "checks": checks}
    with stub_http(lambda method, path: (503, body) if path == "/health" else (200, GREEN)) as url:
        assert not diagnose(url, lines.append)
    found = verdicts(lines)
    assert (found["/readyz"], found["/health"]) == ("ok", "FAIL")
    assert (found["check disk"], found["check speed"], "check model" in found) == ("FAIL", "warn", False)
    assert text_of(lines, "/health") == "Health check failed: disk: no space left"


def test_another_program_that_answers(lines):
    with stub_http(lambda method, path: (200, b"welcome")) as url:
        assert not diagnose(url, lines.append)
    assert "not CCMusic" in text_of(lines, "service")


def test_a_slow_service(lines, monkeypatch):
    monkeypatch.setattr("ccmusic.operations.doctor.N_LATENCIES", 3)
    pause = threading.Event()

    def slow(method, path):
        pause.wait(0.15)
        return 200, GREEN

    with stub_http(slow) as url:
        assert not diagnose(url, lines.append)
    assert verdicts(lines)["latency"] == "FAIL"


# drills


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("kill", "killed"),
        ("freeze", "heartbeat"),
        ("segfault-next", "crashed"),
        ("hang-next", "deadline"),
        ("corrupt-weights", "self_test"),
        ("exit-at-start", "load"),
    ],
)
def test_a_fault_is_noticed_and_the_service_recovers(lines, server, fault, cause):
    outcome = run_drill(server.url, fault, TOKEN, worker=1, timeout_seconds=PATIENCE_SECONDS, echo=lines.append)
    assert outcome == DrillOutcome.PASSED
    assert f"{fault} injected" in lines[0]
    assert any(cause in line for line in lines[1:])
    assert "recovered after" in lines[-1]


def test_a_blocked_loop_is_noticed(lines, server):
    assert run_drill(server.url, "block-loop", TOKEN, size=3.0, echo=lines.append) == DrillOutcome.PASSED
    # chance decides which probe is requested while the loop is blocked
    assert any(" fails: " in line for line in lines)


def test_a_fault_that_is_not_noticed(lines, server):
    # shorter than the heartbeat may be late
    assert (
        run_drill(server.url, "hold-gil", TOKEN, size=0.01, timeout_seconds=1.5, echo=lines.append)
        == DrillOutcome.NOT_NOTICED
    )


def test_the_drill_command_takes_the_token_from_a_file_or_the_environment(server, tmp_path, capsys, monkeypatch):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    drill = ["doctor", "--url", server.url, "--inject", "kill"]
    assert cli.main([*drill, "--token-file", str(file)]) == ExitCode.OK
    assert "kill injected" in capsys.readouterr().out
    monkeypatch.setenv("CCMUSIC_ADMIN_TOKEN", TOKEN)
    assert cli.main(drill) == ExitCode.OK
    assert cli.main([*drill, "--token-file", str(tmp_path / "absent")]) == ExitCode.USAGE


@pytest.mark.parametrize(
    ("fault", "token", "reason"),
    [("kill", "wrong", "401"), ("kill", "", "401"), ("fire", TOKEN, "must be one of kill")],
)
def test_a_fault_that_the_service_refuses_is_not_injected(lines, server, fault, token, reason):
    assert run_drill(server.url, fault, token, echo=lines.append) == DrillOutcome.NOT_INJECTED
    assert reason in lines[-1]


def test_no_fault_is_injected_into_a_service_that_is_not_green(lines):
    methods = []

    def red(method, path):
        methods.append(method)
        return 503, GREEN | {"message": "loading"}

    with stub_http(red) as url:
        assert run_drill(url, "kill", TOKEN, echo=lines.append) == DrillOutcome.NOT_INJECTED
    assert "loading" in lines[-1]
    assert "POST" not in methods


class Breaking:
    """A service that turns red at a fault. It turns green when the fault is cleared, or not before `end` is called."""

    def __init__(self, recovers: bool, end: Callable[[], None] = lambda: None) -> None:
        self.recovers = recovers
        self.end = end
        self.red = False
        self.cleared = 0

    def __call__(self, method, path):
        if self.cleared and method == "GET":
            self.end()
        if method == "POST" and path.startswith("/debug/faults/"):
            self.red = True
        elif method == "DELETE":
            self.cleared += 1
            self.red = not self.recovers
        return (503, GREEN | {"message": "out of order"}) if self.red and method == "GET" else (200, GREEN)


def test_a_service_that_does_not_recover(lines, clock):
    service = Breaking(recovers=False, end=clock.end)
    with stub_http(service) as url:
        outcome = run_drill(url, "kill", TOKEN, timeout_seconds=LONG_SECONDS, echo=lines.append)
    assert outcome == DrillOutcome.NOT_RECOVERED
    assert any("/health fails: out of order" in line for line in lines)
    assert service.cleared == 1


def test_a_fault_is_cleared_once_it_is_noticed(lines):
    service = Breaking(recovers=True)
    with stub_http(service) as url:
        assert run_drill(url, "error", TOKEN, echo=lines.append) == DrillOutcome.PASSED
    assert service.cleared == 1


def test_a_worker_that_is_not_up_is_not_green(lines, clock):
    state = {"injected": False, "cleared": False}

    def answer(method, path):
        state["cleared"] = state["cleared"] or method == "DELETE"
        if state["cleared"] and method == "GET":
            clock.end()
        state["injected"] = state["injected"] or method == "POST"
        workers = [{"state": "failed" if state["injected"] else "idle"}]
        return 200, GREEN | {"workers": workers, "restarts": {"total": int(state["injected"])}}

    with stub_http(answer) as url:
        outcome = run_drill(url, "kill", TOKEN, timeout_seconds=LONG_SECONDS, echo=lines.append)
    assert outcome == DrillOutcome.NOT_RECOVERED
    assert any("a worker was replaced (0 -> 1)" in line for line in lines)
