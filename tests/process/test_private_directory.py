"""Directories of temporary files that belong to one process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ccmusic.process.private_directory import PrivateDirectory, delete_ownerless
from support.locks import no_locks

HOLD = """
import sys
from pathlib import Path
from ccmusic.process.private_directory import PrivateDirectory
directory = PrivateDirectory("mine-", Path(sys.argv[1]))
(directory.path / "upload").write_bytes(b"x")
print(directory.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process with a directory; and its directory."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_the_directory_of_a_killed_process_is_deleted_by_the_next_one(tmp_path, other):
    process, left = other
    PrivateDirectory("mine-", tmp_path).delete()
    assert (left / "upload").exists(), "its process still runs"
    process.send_signal(signal.SIGKILL)
    process.wait()
    PrivateDirectory("other-", tmp_path).delete()
    assert left.exists(), "it has another prefix"
    PrivateDirectory("mine-", tmp_path).delete()
    assert list(tmp_path.iterdir()) == []


def test_only_this_user_can_read_it(tmp_path):
    directory = PrivateDirectory("mine-", tmp_path)
    assert directory.path.stat().st_mode & 0o077 == 0
    directory.delete()


def test_nothing_is_left_if_it_cannot_be_locked(tmp_path, monkeypatch):
    tried = no_locks(monkeypatch)
    with pytest.raises(OSError, match="No locks available"):
        PrivateDirectory("mine-", tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(tried[-1])


def test_where_no_lock_says_whether_its_process_runs_nothing_is_deleted(tmp_path, monkeypatch):
    (tmp_path / "mine-left").mkdir()
    with monkeypatch.context() as patch:
        no_locks(patch)
        delete_ownerless("mine-", tmp_path)
    assert (tmp_path / "mine-left").exists()
    delete_ownerless("mine-", tmp_path)
    assert list(tmp_path.iterdir()) == []
