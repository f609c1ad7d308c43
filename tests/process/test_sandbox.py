"""What a process that decodes can do no more, tried in a process of its own."""

from __future__ import annotations

import platform
import resource
import sys

import pytest

from support.own_process import run

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux")


BOUND = """
import os, resource, sys
from ccmusic.process.sandbox import bound_process
bound_process(100, 1000)
"""


def test_descriptors_and_core_dumps_are_bounded():
    done = run(
        BOUND
        + """
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
held = []
try:
    while True:
        held.append(os.dup(0))
except OSError as error:
    print(error.strerror, max(held))
"""
    )
    assert done.stdout == "Too many open files 99\n", done.stderr


WRITE = """
with open(sys.argv[1], "wb", buffering=0) as file:
    try:
        print(file.write(bytes(500)), file.write(bytes(5000)), file.write(bytes(1)))
    except OSError as error:
        print(error.strerror)
"""


def test_files_are_bounded_unless_the_log_is_one(tmp_path):
    arguments = BOUND + WRITE, str(tmp_path / "written")
    assert run(*arguments).stdout == "File too large\n"
    with (tmp_path / "log").open("wb") as log:
        assert run(*arguments, stderr=log).stdout == "500 5000 1\n"


def test_an_own_lower_bound_is_not_raised():
    done = run(
        BOUND + "print(resource.getrlimit(resource.RLIMIT_NOFILE))",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (50, 60)),
    )
    assert done.stdout == "(50, 60)\n"


SANDBOX = """
import ctypes, os, platform, socket, subprocess, threading
from ccmusic.process.sandbox import close_network

def tried(what):
    try:
        what()
    except PermissionError:
        return "refused"
    return "had"

asked, done = threading.Event(), []
other = threading.Thread(target=lambda: (asked.wait(), done.append(tried(socket.socket))))
other.start()
assert close_network()
asked.set()
other.join()
print(tried(socket.socket), done[0])
print(tried(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)), tried(lambda: socket.socket(socket.AF_NETLINK)))
print(tried(lambda: subprocess.run(["true"])), tried(lambda: os.execv("/bin/true", ["true"])))
print(tried(lambda: socket.socket(socket.AF_UNIX)), tried(socket.socketpair), tried(os.pipe))

libc = ctypes.CDLL(None, use_errno=True)

def error_of(number):
    # with arguments that have no effect
    ctypes.set_errno(0)
    libc.syscall(number, -1, 0, 0, 0, 0)
    return os.strerror(ctypes.get_errno())

# execve, execveat, io_uring_setup, ptrace, process_vm_writev; and a call of another ABI
numbers = {"x86_64": (59, 322, 425, 101, 311), "aarch64": (221, 281, 425, 117, 271)}[platform.machine()]
print({error_of(number) for number in (*numbers, 0x40000000 | 39)})
"""


@linux
@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="its numbers of calls are not known")
def test_the_sandbox_refuses_networks_and_programs_to_every_thread():
    done = run(SANDBOX)
    refused = ["refused refused"] * 3
    assert done.stdout.splitlines() == [*refused, "had had had", "{'Operation not permitted'}"], done.stderr
