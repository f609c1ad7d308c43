import io
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from ccmusic.commands.recordings import find_recordings
from ccmusic.errors import CcmusicError

MOST_BYTES = 1000


@pytest.fixture
def folder(tmp_path):
    for name in ("b.mp3", "a.FLAC", "notes.txt", ".hidden.mp3", "disc/c.ogg", ".git/d.mp3", "empty/readme.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(*paths):
    """Names and errors; None for a recording, whose source must be the file."""
    answers = []
    for name, source in find_recordings(list(map(str, paths)), MOST_BYTES):
        assert isinstance(source, CcmusicError) or source == name
        answers.append((name, str(source) if isinstance(source, CcmusicError) else None))
    return answers


def test_a_folder_becomes_its_recordings_in_sorted_order(folder):
    assert found(folder) == [(folder / name, None) for name in ("a.FLAC", "b.mp3", "disc/c.ogg")]


def test_a_named_file_stays_whatever_its_suffix(folder):
    paths = [folder / "notes.txt", folder / ".hidden.mp3", Path("absent")]
    assert found(*paths) == [(path, None) for path in paths]


def test_the_order_of_the_arguments_stays(folder):
    paths = [folder / "disc", folder / "b.mp3", folder / "disc"]
    assert [path.name for path, _ in found(*paths)] == ["c.ogg", "b.mp3", "c.ogg"]


def test_a_folder_without_recordings_is_reported(folder):
    ((name, error),) = found(folder / "empty")
    assert name == folder / "empty"
    assert error.startswith("folder has no recordings: ")


def test_a_folder_that_cannot_be_read_is_reported(folder, monkeypatch):
    scandir = os.scandir

    def locked(path):
        if Path(os.fsdecode(path)).name == "disc":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert found(folder)[-1] == (folder / "disc", "folder cannot be read: Permission denied")


def test_a_name_that_cannot_be_looked_up_stays(folder):
    names = [folder / ("x" * 300), folder / "notes.txt" / "y"]
    assert found(*names) == [(name, None) for name in names]


# pipes


@pytest.fixture
def standard_input(monkeypatch):
    def set_content(content, is_a_terminal=False):
        stdin = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: is_a_terminal)
        monkeypatch.setattr("sys.stdin", stdin)

    return set_content


def test_a_pipe_is_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"content",))
    writer.start()
    assert find_recordings([str(pipe)], MOST_BYTES) == [(pipe, b"content")]
    writer.join()


def test_a_pipe_in_a_folder_is_not_opened(tmp_path):
    pipe = tmp_path / "pipe.mp3"
    os.mkfifo(pipe)
    assert found(tmp_path) == [(pipe, None)]  # the decoder refuses it


def test_a_hyphen_is_standard_input_and_not_a_file(folder, standard_input, monkeypatch):
    monkeypatch.chdir(folder)
    Path("-").write_bytes(b"in the file")
    standard_input(b"sent")
    assert find_recordings(["-", "./-"], MOST_BYTES) == [(Path("-"), b"sent"), (Path("-"), Path("-"))]


def test_a_terminal_is_not_read(standard_input):
    standard_input(b"", is_a_terminal=True)
    ((_, error),) = found("-")
    assert error.startswith("- is standard input, ")


def test_a_pipe_without_an_end_is_refused(standard_input):
    standard_input(bytes(MOST_BYTES))
    assert find_recordings(["-"], MOST_BYTES) == [(Path("-"), bytes(MOST_BYTES))]
    standard_input(bytes(MOST_BYTES + 1))
    ((_, error),) = found("-")
    assert "CCMUSIC_MAX_UPLOAD_BYTES" in error
    assert found("/dev/zero")[0][1] == error
