from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ccmusic.batch.run_lock import LOCK_NAME, is_running, only_run
from ccmusic.errors import CatalogueError, CatalogueInUse
from support.locks import WITHOUT_LOCKS, no_locks

HOLD = """
import sys, threading
from pathlib import Path
from ccmusic.batch.run_lock import only_run
with only_run(Path(sys.argv[1])):
    print("locked", flush=True)
    threading.Event().wait()
"""


def test_a_second_run_is_refused_and_names_the_first(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with only_run(tmp_path / "out"):
        assert is_running(tmp_path / "out")
        with pytest.raises(CatalogueInUse, match=f"process {os.getpid()} "), only_run(tmp_path / "out"):
            pytest.fail("two runs at once")
        assert is_running(tmp_path / "out")
    assert not is_running(tmp_path / "out")
    with only_run(tmp_path / "out"):
        pass


def test_the_lock_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLD, tmp_path]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(CatalogueInUse, match=f"process {process.pid} "), only_run(tmp_path):
            pytest.fail("two runs at once")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / LOCK_NAME).exists()
    assert not is_running(tmp_path)
    with only_run(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CatalogueError, match="cannot be written to"), only_run(tmp_path / "file"):
        pytest.fail("a lock without a file")


@pytest.mark.parametrize("number", WITHOUT_LOCKS, ids=errno.errorcode.get)
def test_no_run_starts_where_there_are_no_locks(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_locks(monkeypatch, number)
    expected = rf"cannot be locked: {os.strerror(number)}\. .* local disk"
    with pytest.raises(CatalogueError, match=expected), only_run(tmp_path):
        pytest.fail("a run without a lock")
    assert not is_running(tmp_path)
