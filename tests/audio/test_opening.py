"""Sources that cannot be opened, or not be read to their end: each has its own words."""

from __future__ import annotations

import errno
import io
import os

import pytest

from ccmusic.audio.decode import decode
from ccmusic.errors import CcmusicError, InvalidParameter
from support.encoding import ENCODED


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("missing.wav", "file does not exist"),
        (".", "file is a folder"),
        ("pipe", "file is a pipe or a device"),
        ("song.wav/x", "file cannot be opened: "),
        ("x" * 300, "file cannot be opened: "),
    ],
)
def test_a_source_that_is_not_a_file(tmp_path, source, words):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "song.wav").touch()
    with pytest.raises(InvalidParameter, match=f"^{words}"):
        decode(tmp_path / source)


class _FailingFile(io.RawIOBase):
    """Fails where it is read beyond a number of bytes."""

    def __init__(self, content: bytes, good_bytes: int) -> None:
        self._content = io.BytesIO(content)
        self._good_bytes = good_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._content.seek(offset, whence)

    def readinto(self, buffer) -> int:
        if self._content.tell() + len(buffer) > self._good_bytes:
            raise OSError(errno.EIO, "Input/output error")
        return self._content.readinto(buffer)


@pytest.mark.parametrize("name", ["wav-16", "m4a"])
@pytest.mark.parametrize("good_share", [0.0, 0.5])
def test_a_disk_that_fails_is_not_taken_for_a_short_or_broken_recording(tmp_path, monkeypatch, capfd, name, good_share):
    path = tmp_path / "song"
    path.write_bytes(content := ENCODED[name][1]())
    monkeypatch.setattr(io, "FileIO", lambda _: _FailingFile(content, int(good_share * len(content))))
    with pytest.raises(CcmusicError, match="cannot be read to its end: Input/output error") as caught:
        decode(path)
    assert caught.value.slug == "internal"
    assert capfd.readouterr().err == ""
