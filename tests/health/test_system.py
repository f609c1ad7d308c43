import resource
import subprocess
import sys
import types

import pytest

from ccmusic.health import dependency_check, descriptor_check, gpu_memory_check
from support.waiting import PATIENCE_SECONDS


def printed(code):
    """What a Python of its own prints, for what would harm this one."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_descriptors_run_out_and_become_free_again():
    lines = printed("""
import os, resource
from ccmusic.health import descriptor_check
check = descriptor_check()
print(check.observe())
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
held = []
seen = "pass"
while True:
    observation = check.observe()
    if observation.status != seen:
        seen = observation.status
        print(observation.status, observation.cause)
    try:
        held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        break
print(check.observe().cause)
for one in held:
    os.close(one)
print(check.observe().status)
""")
    assert lines[0].startswith("Observation(status='pass', cause=None, value=")
    assert lines[1] == "warn 80 of 100 descriptors are open"
    assert lines[2] == "fail 95 of 100 descriptors are open"
    assert lines[3:] == ["too many open files (EMFILE): no descriptor is left to count them", "pass"]


def test_the_limit_is_read_each_time(monkeypatch):
    check = descriptor_check()
    assert check.observe().status == "pass"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))
    assert check.observe().status == "fail"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert check.observe().status == "pass"
    assert check.affects == {"health", "readyz"}


def test_installed_modules_pass():
    observation = dependency_check(["json", "os.path", "starlette.routing"]).observe()
    assert (observation.status, observation.value) == ("pass", 3)


def test_a_missing_module_is_named():
    observation = dependency_check(["json", "no_such_module.part"]).observe()
    assert observation.code == "dependency_missing"
    assert observation.message == "Health check failed: No module named 'no_such_module'"


def test_a_module_whose_import_is_blocked_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "blocked", None)
    assert dependency_check(["blocked"]).observe().code == "dependency_missing"


def test_checking_a_module_imports_nothing():
    assert printed("""
import sys
from ccmusic.health import dependency_check
dependency_check(["numpy.linalg", "fastapi"]).observe()
print("numpy" in sys.modules or "fastapi" in sys.modules)
""") == ["False"]


def fake_nvml(*uses):
    return types.SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(uses),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda card: types.SimpleNamespace(used=uses[card] * 2**30, total=100 * 2**30),
    )


def test_the_fullest_gpu_counts_and_only_warns(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(10, 96))
    observation = gpu_memory_check().observe()
    assert (observation.status, observation.cause) == ("warn", "96 % of 100.0 GiB in use on card 1")
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(10, 94))
    assert gpu_memory_check().observe().status == "pass"


@pytest.mark.parametrize("module", [None, fake_nvml(), types.SimpleNamespace(nvmlInit=lambda: 1 / 0)])
def test_without_a_gpu_there_is_no_check(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert gpu_memory_check() is None
