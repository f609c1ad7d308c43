import os
import subprocess
import sys

import pytest

from ccmusic.process.child_environment import DOWNLOADS, child_environment

SECRETS = ("CCMUSIC_ADMIN_TOKEN", "CCMUSIC_BRIDGE_SMTP_PASSWORD", "AWS_SECRET_ACCESS_KEY", "API_KEY", "HF_TOKEN")
NEEDED = ("PATH", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")

as_root = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="it changes the user of two processes"
)
NOBODY = 65534
HOLDER = """import ctypes, os, sys
from ccmusic.process.child_environment import close_memory
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of the user closes the memory, too
if sys.argv[1] == "closed":
    close_memory()
assert len(os.listdir("/proc/self/fd")) > 2  # it still sees what it needs of itself
open("/proc/self/status").read()
print("ready", flush=True)
sys.stdin.read()
"""


def test_only_known_variables_are_passed_on(monkeypatch):
    for name in (*SECRETS, *NEEDED):
        monkeypatch.setenv(name, "value")
    found = child_environment(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="9")
    assert not set(SECRETS) & set(found)
    assert set(NEEDED) <= set(found)
    assert found["OPENBLAS_NUM_THREADS"] == "1"
    assert found["OMP_NUM_THREADS"] == "value"


def test_a_download_gets_the_tokens_of_the_hubs_and_no_other(monkeypatch):
    for name in (*SECRETS, "https_proxy", "MODELSCOPE_API_TOKEN"):
        monkeypatch.setenv(name, "value")
    found = child_environment(*DOWNLOADS)
    assert {"HF_TOKEN", "https_proxy", "MODELSCOPE_API_TOKEN"} <= set(found)
    assert not set(SECRETS) - {"HF_TOKEN"} & set(found)


@as_root
@pytest.mark.parametrize(("how", "readable"), [("open", True), ("closed", False)])
def test_another_process_of_the_user_cannot_read_the_environment(how, readable):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"CCMUSIC_ADMIN_TOKEN": "a secret"},
    )
    with holder:
        assert holder.stdout.readline() == b"ready\n"
        read = subprocess.run(
            ["cat", f"/proc/{holder.pid}/environ"],
            check=False,
            capture_output=True,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )
        holder.stdin.close()
    assert (b"a secret" in read.stdout) == readable


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_the_service_closes_its_memory_before_it_listens():
    program = """import ctypes, sys
from ccmusic.serving import server
from ccmusic.settings import Settings
def listen(*_):
    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
    sys.exit()
server.listen = listen
server.serve(Settings(page=False))
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"0\n"
