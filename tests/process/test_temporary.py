import os
import tempfile

import pytest

from ccmusic.process.temporary import choose_temporary_directory


@pytest.fixture
def no_usual_directory(monkeypatch):
    def refuse():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", refuse)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "")


def test_the_usual_directory():
    assert choose_temporary_directory() == tempfile.gettempdir()


def test_another_directory_is_found_and_used_by_child_processes_too(no_usual_directory, tmp_path, monkeypatch):
    assert choose_temporary_directory((str(tmp_path / "none"), str(tmp_path))) == str(tmp_path)
    assert tempfile.tempdir == os.environ["TMPDIR"] == str(tmp_path)


def test_no_directory_at_all(no_usual_directory, tmp_path):
    with pytest.raises(FileNotFoundError, match="mount one at /tmp, or name one with TMPDIR"):
        choose_temporary_directory((str(tmp_path / "none"),))
