"""One process at a time holds a lock file."""

import sys
import threading

import pytest

from ccmusic.checkpoints.file_lock import file_lock
from ccmusic.errors import DependencyUnavailable
from support.waiting import PATIENCE_SECONDS


def test_the_first_holder_does_not_wait_and_releases_the_lock(tmp_path):
    for _ in range(2):
        with file_lock(tmp_path / "lock", lambda: pytest.fail("waited")):
            pass


def test_a_second_holder_reports_that_it_waits(tmp_path):
    holding, waiting = threading.Event(), threading.Event()

    def hold():
        with file_lock(tmp_path / "lock", lambda: None):
            holding.set()
            waiting.wait(PATIENCE_SECONDS)

    first = threading.Thread(target=hold)
    first.start()
    assert holding.wait(PATIENCE_SECONDS)
    with file_lock(tmp_path / "lock", waiting.set):
        assert waiting.is_set()
    first.join()


def test_an_error_releases_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), file_lock(tmp_path / "lock", lambda: None):
        _ = 1 / 0
    with file_lock(tmp_path / "lock", lambda: pytest.fail("waited")):
        pass


def test_a_lock_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), file_lock(tmp_path / "file" / "lock", lambda: None):
        pass


def test_without_the_package_filelock_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(DependencyUnavailable, match=r"ccmusic\[import\]"), file_lock(tmp_path / "lock", lambda: None):
        pass
