"""What a child process gets from this one: the variables that its libraries need, and no secret."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

NAMES = {"PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR"}
PREFIXES = (
    *("LC_", "LD_", "DYLD_", "PYTHON", "MALLOC_", "GLIBC_", "COV_CORE_", "COVERAGE_"),
    *("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "ORT_", "OV_", "CUDA_", "NVIDIA_"),
)
"""Variables of the interpreter, the loader, and the libraries that compute."""
DOWNLOADS = (
    *("HF_", "HUGGINGFACE_", "MODELSCOPE_", "XDG_", "SSL_CERT_"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
"""Beginnings of the variables that a download from a hub needs; the tokens of the hubs are among them."""
PR_SET_DUMPABLE = 4


def child_environment(*prefixes: str, **defaults: str) -> dict[str, str]:
    """The environment of a child process. Only known variables are passed on, so that a new secret is not.

    Parameters
    ----------
    *prefixes : str
        Beginnings of further names, in capitals.
    **defaults : str
        Variables that get this value if this process does not have them.
    """
    allowed = (*PREFIXES, *prefixes)
    passed = {name: value for name, value in os.environ.items() if name in NAMES or name.upper().startswith(allowed)}
    return defaults | passed


def close_memory() -> None:
    """Keep other processes of the same user out of this one's memory and of the environment that it was started with.

    Linux only. Root can still read both. No core dump of this process is written.
    """
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
