"""The kernel's bounds on a decoding, each in a process of its own."""

from __future__ import annotations

import resource
import signal
import sys

import pytest

from ccmusic.audio.kernel_bounds import BOUND_SIGNAL, DecodingBounds, mapped_bytes
from ccmusic.audio.limits import DecodeLimits
from support.own_process import run

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux")
MB = 2**20


@linux
def test_memory_is_bounded_while_decoding_and_not_afterwards():
    done = run(f"""
from ccmusic.audio.limits import DecodeLimits
from ccmusic.audio.kernel_bounds import DecodingBounds
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
from ccmusic.audio.kernel_bounds import DecodingBounds, mapped_bytes
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
from ccmusic.audio.kernel_bounds import DecodingBounds
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
