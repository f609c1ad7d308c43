"""The fork server: a process that has imported the pipeline and forks each worker in milliseconds.

It has one thread, because a fork copies only one. It knows nothing about workers but their process ids: a failed fork
is an answer and not its end, and its own end or standstill does not reach the workers that it has forked.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import wait

from ccmusic.workers import lifeline, worker
from ccmusic.workers.heartbeat import BEAT_SECONDS, Heartbeat
from ccmusic.workers.message_stream import MessageStream

REQUEST = struct.Struct("q")
"""The number of the request. Five descriptors come with it: those of `worker.run`, and the pipe for the exit code."""
ANSWER = struct.Struct("qqq")
"""The number of the request, and the process id and 0, or 0 and the error number. Number 0: the server is ready."""
EXIT_CODE = struct.Struct("q")
N_DESCRIPTORS = 5


def main(control: int, lifeline_fd: int, heartbeat_fd: int, modules: Iterable[str]) -> None:
    """Import the modules, then fork a worker for each request until the front process ends.

    Parameters
    ----------
    control : int
        A socket: requests come in, answers go out.
    lifeline_fd : int
        See `lifeline`.
    heartbeat_fd : int
        The memory of a `Heartbeat`, which this process updates once it is ready.
    modules : iterable of str
        What the workers need. If one cannot be imported, each worker reports what is missing.
    """
    lifeline.end_with(lifeline_fd)
    for name in modules:
        with suppress(ImportError):
            importlib.import_module(name)
    _Server(socket.socket(fileno=control), lifeline_fd, Heartbeat(heartbeat_fd)).run()


class _Server:
    def __init__(self, control: socket.socket, lifeline_fd: int, heartbeat: Heartbeat) -> None:
        self._control = control
        self._lifeline = lifeline_fd
        self._heartbeat = heartbeat
        self._wake_read, self._wake_write = os.pipe()
        self._exit_pipes: dict[int, int] = {}

    def run(self) -> None:
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that the end of a child wakes the loop
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._control.send(ANSWER.pack(0, os.getpid(), 0))
        while True:
            self._heartbeat.beat()
            readable = wait([self._control, self._wake_read, self._lifeline], BEAT_SECONDS)
            if self._lifeline in readable:
                return
            with suppress(BlockingIOError):
                while os.read(self._wake_read, 64):
                    pass
            self._report_ended()
            if self._control in readable and not self._serve_request():
                return

    def _report_ended(self) -> None:
        """Send the exit code of each child that has ended."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pipe = self._exit_pipes.pop(ended[0], None)
                if pipe is not None:
                    with suppress(OSError):
                        os.write(pipe, EXIT_CODE.pack(os.waitstatus_to_exitcode(ended[1])))
                    os.close(pipe)

    def _serve_request(self) -> bool:
        """Fork one worker; returns False if the front process has closed the socket."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, REQUEST.size, N_DESCRIPTORS)
        except OSError:
            return False
        if not message:
            return False
        (number,) = REQUEST.unpack(message)
        exit_pipe = descriptors.pop()
        try:
            pid = os.fork()
        except OSError as error:  # a limit is reached; the workers that run are not affected
            os.close(exit_pipe)
            answer = ANSWER.pack(number, 0, error.errno or 0)
        else:
            if pid == 0:
                self._become_worker(descriptors, exit_pipe)
            self._exit_pipes[pid] = exit_pipe
            answer = ANSWER.pack(number, pid, 0)
        for descriptor in descriptors:
            os.close(descriptor)
        try:
            self._control.send(answer)
        except OSError:
            return False
        return True

    def _become_worker(self, descriptors: list[int], exit_pipe: int) -> None:
        """Run the worker in the child, and end it; never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            self._heartbeat.close()
            ours = (self._wake_read, self._wake_write, self._lifeline, exit_pipe, *self._exit_pipes.values())
            for descriptor in ours:
                os.close(descriptor)
            connection, heartbeat, dump, lifeline_fd = descriptors
            worker.run(MessageStream(connection), Heartbeat(heartbeat), dump, lifeline_fd)
            code = 0
        except BaseException:  # the child must not return into the loop of its parent
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
