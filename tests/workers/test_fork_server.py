"""The fork server as a real process, and what becomes of a request in each of its states."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import threading
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from ccmusic.workers import fork_server
from ccmusic.workers.fork_server import ForkServer, ForkServerLost, NotStarted
from ccmusic.workers.forked_process import ForkedProcess
from ccmusic.workers.heartbeat import Heartbeat
from ccmusic.workers.worker_process import try_out
from support.waiting import wait_until


@pytest.fixture
def make_server():
    """Fork servers that import nothing, so that they start at once."""
    servers = []

    def make(*modules: str, heartbeat_seconds: float = 0.5, **limits: float) -> ForkServer:
        servers.append(ForkServer(heartbeat_seconds, modules=modules, **limits))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def fork():
    """Forks a worker that waits for its options; it ends when its connection is closed."""
    with ExitStack() as stack:

        def begin(server: ForkServer, give_up=lambda: False) -> tuple[ForkedProcess, object]:
            heartbeat = stack.enter_context(closing(Heartbeat()))
            connection, theirs = map(stack.enter_context, multiprocessing.Pipe())
            lifeline, ours = map(stack.enter_context, multiprocessing.Pipe(duplex=False))
            stack.enter_context(ours)
            process = server.fork(
                [theirs.fileno(), heartbeat.descriptor, lifeline.fileno(), lifeline.fileno()], give_up
            )
            theirs.close()
            lifeline.close()
            return process, connection

        yield begin


def server_of(server: ForkServer) -> int:
    wait_until(lambda: server._server is not None and server._server.ready_at is not None, "it is ready")
    return server._server.pid


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_worker_starts_and_its_exit_code_is_known(make_server):
    server = make_server()
    assert [try_out(server), try_out(server)] == [0, 0]
    assert server.state().cause is None


def test_a_worker_that_is_killed_is_reported_so(make_server, fork):
    process, _ = fork(make_server())
    assert process.exit_code(0.0) is None
    os.kill(process.pid, signal.SIGKILL)
    assert process.exit_code(30.0) == -signal.SIGKILL
    process.close()


def test_a_worker_outlives_its_fork_server_and_its_exit_code_is_known(make_server, fork):
    server = make_server()
    process, connection = fork(server)
    assert server.owned() == {process.pid, server_of(server)}
    os.kill(server_of(server), signal.SIGKILL)
    wait_until(lambda: server.state().cause is not None, "the loss is noticed")
    assert "SIGKILL" in server.state().cause
    assert server.state().replacing
    assert process.exit_code(0.1) is None
    assert parent_of(process.pid) == os.getpid(), "this process has adopted it"
    connection.close()
    assert process.exit_code(30.0) == 0
    process.close()
    wait_until(lambda: server.state().cause is None, "another one is ready")
    assert process.pid not in server.owned()
    assert try_out(server) == 0


def test_a_stopped_fork_server_is_replaced_and_the_request_fails_at_once(make_server, fork):
    server = make_server(heartbeat_seconds=600.0)  # it is not replaced yet
    process, _ = fork(server)
    pid = server_of(server)
    os.kill(pid, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)
    assert process.exit_code(30.0) == -signal.SIGKILL  # although nobody has waited for it
    process.close()
    server.heartbeat_seconds = 0.5
    with pytest.raises(ForkServerLost):
        fork(server)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "it is gone")
    wait_until(lambda: not Path(f"/proc/{process.pid}").exists(), "its worker was waited for")
    assert try_out(server) == 0


def test_a_fork_server_that_is_stopped_while_it_starts_is_replaced(make_server, tmp_path, monkeypatch):
    module = tmp_path / "stops_once.py"
    module.write_text(
        "import os, signal, pathlib\n"
        f"seen = pathlib.Path({str(tmp_path / 'seen')!r})\n"
        "if not seen.exists():\n    seen.touch()\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    server = make_server("stops_once")
    server.start()
    wait_until(lambda: server.state().cause is not None, "it is noticed")
    assert "was stopped" in server.state().cause
    server_of(server)
    assert server.state().cause is None
    assert try_out(server) == 0


def test_a_fork_server_that_starts_slowly_is_waited_for(make_server, tmp_path, monkeypatch):
    (tmp_path / "slow_import.py").write_text("import time; time.sleep(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    server = make_server("slow_import", heartbeat_seconds=0.1)
    assert try_out(server) == 0
    assert server._lost is None


def test_a_fork_server_that_does_not_start_is_reported(make_server, tmp_path, monkeypatch, fork):
    (tmp_path / "ends.py").write_text("import os; os._exit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    server = make_server("ends")
    with pytest.raises(NotStarted, match="ended with exit code 3 while it started"):
        fork(server)
    wait_until(lambda: not server.state().replacing, "it is not called a replacement any more")
    assert server.state().seconds > 0


LIMITED_FORKS = """import errno, os, pathlib
fork = os.fork
def fork_within_the_limit():
    if pathlib.Path({limit!r}).exists():
        raise BlockingIOError(errno.EAGAIN, "a limit is reached")
    return fork()
os.fork = fork_within_the_limit
"""


def test_a_failed_fork_is_an_answer_and_the_other_workers_live_on(make_server, fork, tmp_path, monkeypatch):
    limit = tmp_path / "limit"
    (tmp_path / "limited_forks.py").write_text(LIMITED_FORKS.format(limit=str(limit)))
    monkeypatch.syspath_prepend(str(tmp_path))
    server = make_server("limited_forks")
    process, connection = fork(server)
    pid = server_of(server)
    limit.touch()
    with pytest.raises(NotStarted, match="a limit of processes is reached"):
        fork(server)
    assert "a limit of processes is reached" in server.state().cause
    assert not server.state().replacing
    assert process.exit_code(0.1) is None
    limit.unlink()
    assert try_out(server) == 0
    assert server.state().cause is None
    assert server_of(server) == pid
    connection.close()
    assert process.exit_code(30.0) == 0
    process.close()


def test_a_refusal_of_a_slot_that_is_gone_is_forgotten(make_server, fork, monkeypatch):
    monkeypatch.setattr(fork_server, "REFUSAL_SECONDS", 0.0)
    monkeypatch.setattr(ForkServer, "_answer", staticmethod(lambda *_: (0, errno.EAGAIN)))
    server = make_server()
    with pytest.raises(NotStarted):
        fork(server)
    assert server.state().cause is None


def test_a_wait_for_the_fork_server_can_be_given_up(make_server, fork, tmp_path, monkeypatch):
    (tmp_path / "slow_import.py").write_text("import time; time.sleep(600)")
    monkeypatch.syspath_prepend(str(tmp_path))
    given_up = threading.Event()
    server = make_server("slow_import")
    server.start()
    given_up.set()
    with pytest.raises(NotStarted, match="the service is stopping"):
        fork(server, given_up.is_set)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_watching_thread_is_started_again(make_server, monkeypatch):
    server = make_server()
    server.start()
    server_of(server)
    monkeypatch.setattr(ForkServer, "_turn", lambda *_: sys.exit())  # ends the thread and not the process
    wait_until(lambda: not server._thread.is_alive(), "the thread has ended")
    monkeypatch.undo()
    server.start()
    assert server._thread.is_alive()
    assert try_out(server) == 0


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="it reads /proc")
def test_the_fork_server_and_its_workers_have_no_secret_in_their_environment(make_server, fork, monkeypatch):
    for name in ("CCMUSIC_ADMIN_TOKEN", "HF_TOKEN", "SOME_PASSWORD"):
        monkeypatch.setenv(name, "secret-of-the-front")
    server = make_server()
    process, _ = fork(server)
    for pid in (server_of(server), process.pid):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"PATH=" in environment
        assert b"secret-of-the-front" not in environment
