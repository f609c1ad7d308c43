"""The kernel's bounds on a worker, each in a process of its own."""

from __future__ import annotations

import platform
import resource
import signal
import subprocess
import sys

import pytest

from ccmusic.audio.limits import DecodeLimits
from ccmusic.workers.bounds import BOUND_SIGNAL, DecodingBounds, mapped_bytes
from support.waiting import PATIENCE_SECONDS

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux")
MB = 2**20


def run(program: str, *arguments: str, stderr=subprocess.PIPE, preexec_fn=None) -> subprocess.CompletedProcess:
    """Run a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=False,
        stdout=subprocess.PIPE,
        stderr=stderr,
        preexec_fn=preexec_fn,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


@linux
def test_memory_is_bounded_while_decoding_and_not_afterwards():
    done = run(f"""
from ccmusic.audio.limits import DecodeLimits
from ccmusic.workers.bounds import DecodingBounds
bounds = DecodingBounds(DecodeLimits(decode_memory_bytes={64 * MB}))
bounds.allow(0.0, 100.0)
assert bounds.holds_memory
# The third has 351 MB to spare: after a refusal the C library may keep 64 MB of addresses for itself (1 run in 32).
for megabytes, music in ((32, 0.0), (400, 0.0), (400, 7200.0)):
    bounds.allow(music, 100.0)
    try:
        bytearray(megabytes * {MB})
        print("had")
    except MemoryError:
        print("refused")
bounds.lift()
bytearray(1000 * {MB})
""")
    assert (done.stdout.split(), done.returncode) == (["had", "refused", "had"], 0), done.stderr


@linux
def test_a_lower_limit_of_the_operator_stays():
    done = run(f"""
import resource
from ccmusic.audio.limits import DecodeLimits
from ccmusic.workers.bounds import DecodingBounds, mapped_bytes
lower = mapped_bytes() + {32 * MB}
resource.setrlimit(resource.RLIMIT_AS, (lower, resource.RLIM_INFINITY))
bounds = DecodingBounds(DecodeLimits())
bounds.allow(0.0, 100.0)
assert not bounds.holds_memory
assert resource.getrlimit(resource.RLIMIT_AS)[0] == lower
""")
    assert done.returncode == 0, done.stderr


def test_native_code_that_never_returns_is_ended_by_the_signal_of_the_bound():
    done = run("""
import re
from ccmusic.audio.limits import DecodeLimits
from ccmusic.workers.bounds import DecodingBounds
DecodingBounds(DecodeLimits()).allow(0.0, 0.2)
re.match("(a+)+b", "a" * 60)
""")
    assert done.returncode == -BOUND_SIGNAL


def test_the_bound_ends_with_the_decoding():
    bounds = DecodingBounds(DecodeLimits())
    before = resource.getrlimit(resource.RLIMIT_AS)
    bounds.allow(0.0, 1000.0)
    assert signal.getitimer(signal.ITIMER_PROF)[0] > 900.0
    bounds.lift()
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


@linux
def test_the_mapped_memory_is_known():
    assert (mapped_bytes() or 0) > 10 * MB


BOUND = """
import os, resource, sys
from ccmusic.workers.bounds import bound_process
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
from ccmusic.workers.sandbox import close_network

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
