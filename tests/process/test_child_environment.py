import subprocess
import sys

import pytest

from ccmusic.process.child_environment import DOWNLOADS, child_environment

SECRETS = ("CCMUSIC_ADMIN_TOKEN", "CCMUSIC_BRIDGE_SMTP_PASSWORD", "AWS_SECRET_ACCESS_KEY", "API_KEY", "HF_TOKEN")
NEEDED = ("PATH", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


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
