"""What a process that decodes the files of strangers can do no more, once it has loaded its model.

It can open no network connection and start no program (seccomp), and the kernel bounds its descriptors and the files
that it writes. A codec that a file has taken over then reaches nothing but the pipe to the process that started it. The
filter is a few instructions for the kernel's own machine: a library for them would need one of C beside it.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import platform
import resource
import socket
import stat
import struct
import sys

logger = logging.getLogger(__name__)

# numbers of the calls of Linux: seccomp itself; socket, execve, execveat, io_uring_setup, ptrace, process_vm_writev
_CALLS = {
    "x86_64": (0xC000003E, 317, 41, (59, 322, 425, 101, 311)),
    "aarch64": (0xC00000B7, 277, 198, (221, 281, 425, 117, 271)),
}
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_ALL_THREADS = 1
_X32 = 0x40000000
"""Calls of another ABI on x86-64 have this bit, and the same effects."""
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16


def confine(max_descriptors: int, max_file_bytes: int, *, no_network: bool) -> None:
    """Bound this process for good.

    Parameters
    ----------
    max_descriptors, max_file_bytes : int
        See `bound_process`.
    no_network : bool
        Whether `close_network` is called.
    """
    bound_process(max_descriptors, max_file_bytes)
    if no_network:
        close_network()


def bound_process(max_descriptors: int, max_file_bytes: int) -> None:
    """Set the bounds of this process that last: they cannot be raised again.

    Parameters
    ----------
    max_descriptors : int
        Most open descriptors.
    max_file_bytes : int
        Largest file that may be written. There is no such bound if the log goes to a file: the kernel does not tell a
        log from other files.
    """
    _lower(resource.RLIMIT_CORE, 0)  # the memory holds the recordings of strangers
    _lower(resource.RLIMIT_NOFILE, max_descriptors)
    if not any(map(_is_file, (1, 2))):
        _lower(resource.RLIMIT_FSIZE, max_file_bytes)


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY or value < hard:
        resource.setrlimit(kind, (value, value))


def _is_file(descriptor: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def close_network() -> bool:
    """Refuse sockets other than local ones, and other programs, to every thread of this process; for good.

    Returns
    -------
    bool
        False if the system cannot do it.
    """
    known = _CALLS.get(platform.machine())
    if known is None or not sys.platform.startswith("linux"):
        return False
    architecture, seccomp, socket_call, refused = known
    program = _program(architecture, socket_call, refused)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    if libc.syscall(seccomp, _SECCOMP_SET_MODE_FILTER, _ALL_THREADS, header):
        logger.info("what decodes can open connections: no seccomp filter (%s)", os.strerror(ctypes.get_errno()))
        return False
    return True


def _program(architecture: int, socket_call: int, refused: tuple[int, ...]) -> bytes:
    """The filter: each instruction is its code, the places to skip if true and if false, and a number."""
    n_refused = len(refused)
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, n_refused + 5, architecture),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, n_refused + 3, 0, _X32),
        *((_EQUAL, n_refused + 2 - place, 0, number) for place, number in enumerate(refused)),
        (_EQUAL, 0, 3, socket_call),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, socket.AF_UNIX),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
