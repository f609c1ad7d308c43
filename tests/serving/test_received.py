"""Recordings as they arrive: small ones in memory, large ones in a file that does not outlive the request."""

import tempfile
from pathlib import Path

import pytest

from ccmusic.serving.admission import Admission, Admissions
from ccmusic.serving.received import PREFIX, ReceivedRecording, RecordingDirectory
from ccmusic.settings import Settings


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    directory = RecordingDirectory()
    yield directory
    directory.delete()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def admission():
    return Admission(Admissions(Settings()), "", 1000)


def test_a_small_recording_is_bytes(directory, admission, tmp_path):
    recording = ReceivedRecording(admission, directory)
    for piece in (b"ab", b"", b"cd"):
        admission.admit(4)
        recording.write(piece)
    assert (recording.source, recording.size) == (b"abcd", 4)
    assert list(tmp_path.iterdir()) == []


def test_a_large_recording_is_a_file_that_is_deleted_at_the_end(directory, admission, tmp_path):
    recording = ReceivedRecording(admission, directory)
    content = bytes(range(250)) * 100
    for at in range(0, len(content), 400):
        admission.admit(at + 400)
        recording.write(content[at : at + 400])
    assert isinstance(recording.source, Path)
    assert recording.source.read_bytes() == content
    assert recording.source.parent.name.startswith(PREFIX)
    assert recording.source.parent.stat().st_mode & 0o077 == 0
    recording.close()
    assert list(tmp_path.rglob("*/*")) == []


def test_the_directory_is_made_again_if_something_deletes_it(directory):
    path, file = directory.new_file()
    file.close()
    path.unlink()
    path.parent.rmdir()
    path, file = directory.new_file()
    file.close()
    assert path.exists()


def test_a_file_can_be_gone_before_it_is_deleted(directory, admission):
    recording = ReceivedRecording(admission, directory)
    admission.admit(5000)
    recording.write(bytes(5000))
    recording.source.unlink()
    recording.close()
