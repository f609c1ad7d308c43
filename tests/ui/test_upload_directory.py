"""The private directory of uploads."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil

import pytest

from ccmusic.ui import upload_directory
from ccmusic.ui.upload_directory import PREFIX, DirectoryLost, UploadDirectory
from support.locks import no_locks


@pytest.fixture
def parent(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def uploads(parent):
    uploads = UploadDirectory()
    yield uploads
    uploads.release()
    uploads.delete()


def test_uploads_are_deleted_at_the_end_and_those_of_killed_processes_at_the_start(parent):
    left = parent / f"{PREFIX}left"
    left.mkdir()
    (left / "recording.wav").touch()
    in_use = parent / f"{PREFIX}used"
    in_use.mkdir()
    strange = parent / "other"
    strange.mkdir()
    owner = os.open(in_use, os.O_RDONLY)
    fcntl.flock(owner, fcntl.LOCK_EX)
    try:
        uploads = UploadDirectory()
        assert uploads.path.parent == parent
        assert os.environ["GRADIO_TEMP_DIR"] == str(uploads.path)
        assert uploads.path.stat().st_mode & 0o777 == 0o700
        assert not left.exists()
        assert in_use.exists()
        uploads.release()
        uploads.delete()
        assert sorted(parent.iterdir()) == sorted([in_use, strange])
        assert os.environ["GRADIO_TEMP_DIR"] == str(parent)
    finally:
        os.close(owner)


def test_only_a_directory_that_the_operator_names_is_created(tmp_path, monkeypatch):
    named, system = tmp_path / "named" / "uploads", tmp_path / "system"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(named))
    uploads = UploadDirectory()
    assert uploads.path.parent == named
    uploads.release()
    uploads.delete()
    # the directory of the system has rights that we would not restore
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    monkeypatch.setattr(upload_directory.tempfile, "gettempdir", lambda: str(system))
    with pytest.raises(FileNotFoundError):
        UploadDirectory()
    assert not system.exists()
    assert "GRADIO_TEMP_DIR" not in os.environ


def test_a_directory_that_cannot_be_locked_is_not_left(parent, monkeypatch):
    no_locks(monkeypatch)
    with pytest.raises(OSError, match="No locks available"):
        UploadDirectory()
    assert list(parent.iterdir()) == []
    assert os.environ["GRADIO_TEMP_DIR"] == str(parent)


def test_a_complete_directory_passes_and_stays_as_it_is(uploads):
    (uploads.path / "favicon.svg").touch()
    uploads.need_files()
    (uploads.path / "upload.wav").touch()
    uploads.check()
    (uploads.path / "upload.wav").unlink()  # Gradio deletes old uploads
    uploads.check()
    assert [path.name for path in uploads.path.iterdir()] == ["favicon.svg"]


def remove(path):
    shutil.rmtree(path)


def replace(path):
    path.rename(path.parent / "swept")
    path.mkdir()


def put_a_file_there(path):
    shutil.rmtree(path)
    path.touch()


def remove_an_example(path):
    (path / "examples" / "rock.ogg").unlink()


def remove_the_examples(path):
    shutil.rmtree(path / "examples")


@pytest.mark.parametrize(
    "damage", [remove, replace, put_a_file_there, remove_an_example, remove_the_examples], ids=lambda f: f.__name__
)
def test_a_directory_that_was_swept_away_is_lost(uploads, damage):
    (uploads.path / "examples").mkdir()
    (uploads.path / "examples" / "rock.ogg").touch()
    uploads.need_files()
    damage(uploads.path)
    with pytest.raises(DirectoryLost):
        uploads.check()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES])
def test_a_directory_that_cannot_be_written_to_is_not_lost(uploads, monkeypatch, code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(upload_directory.tempfile, "TemporaryFile", refuse)
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        uploads.check()
    assert not isinstance(caught.value, DirectoryLost)


def test_a_disk_that_accepts_a_part_is_full(uploads, monkeypatch):
    monkeypatch.setattr(upload_directory.os, "write", lambda descriptor, block: len(block) - 1)
    with pytest.raises(OSError, match="No space left"):
        uploads.check()
