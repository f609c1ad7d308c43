import errno
import os
import shutil
import subprocess
import sys

import pytest

from ccmusic.health import DiskSpace, disk, disk_check
from support.waiting import PATIENCE_SECONDS


def printed(code):
    """What a Python of its own prints, for what would harm this one."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_writable_directory_passes_and_stays_unchanged(tmp_path):
    assert disk_check(tmp_path).observe().status == "pass"
    assert list(tmp_path.iterdir()) == []
    assert disk_check(tmp_path).affects == {"health"}
    assert disk_check(tmp_path).period_seconds == 2.0


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left (ENOSPC)"),
        (errno.EIO, "input/output error (EIO)"),
        (errno.EROFS, "the file system is read-only (EROFS)"),
        (errno.EDQUOT, "the quota is used up (EDQUOT)"),
        (errno.EPIPE, "Broken pipe (EPIPE)"),
    ],
)
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_each_error_of_the_disk_has_a_text(tmp_path, monkeypatch, call, number, words):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(disk.os, call, fails)
    observation = disk_check(tmp_path).observe()
    assert (observation.status, observation.cause) == ("fail", f"{words} in {tmp_path}")


def test_a_missing_directory_fails(tmp_path):
    missing = tmp_path / "missing"
    assert disk_check(missing).observe().cause == f"no such directory (ENOENT) in {missing}"


def test_a_partial_write_fails(tmp_path):
    # A real limit of the kernel: the first write is cut short, the next one refused.
    assert printed(f"""
import resource
from ccmusic.health import disk_check
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
print(disk_check({str(tmp_path)!r}).observe().cause)
""") == [f"the limit on the size of files is reached (EFBIG) in {tmp_path}"]


def test_a_full_file_system(tmp_path):
    mounted = f'mount -t tmpfs -o size=32k none "{tmp_path}"'
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        possible = (
            subprocess.run([*inside, mounted], capture_output=True, timeout=PATIENCE_SECONDS, check=False).returncode
            == 0
        )
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("no mount of its own is allowed here")
    code = f"from ccmusic.health import disk_check; print(disk_check({str(tmp_path)!r}).observe().cause)"
    command = [*inside, f"{mounted} && exec '{sys.executable}' -c \"{code}\""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
    assert done.stdout == f"no space left (ENOSPC) in {tmp_path}\n"


def test_space_is_measured_and_kept(tmp_path):
    space = DiskSpace(tmp_path)
    assert space.use is None
    observation = space.check().observe()
    usage = shutil.disk_usage(tmp_path)
    assert space.use.total_bytes == usage.free + usage.used
    assert observation.value == round(100 * space.use.share, 1)
    assert (observation.unit, space.check().affects) == ("percent", frozenset({"health"}))


def test_little_space_is_a_warning_that_fails_no_probe(tmp_path):
    observation = DiskSpace(tmp_path, warn_share=0.0).check().observe()
    assert observation.status == "warn"
    assert observation.cause.endswith(f" MiB are left in {tmp_path}")


def test_unknown_space_passes(tmp_path):
    space = DiskSpace(tmp_path / "missing")
    assert space.check().observe().status == "pass"
    assert space.use is None


def test_an_empty_file_system_is_not_full():
    assert disk.DiskUse(0, 0).share == 0
