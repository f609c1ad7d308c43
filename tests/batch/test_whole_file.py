"""A file that is there as a whole or not at all."""

from __future__ import annotations

import os
import stat

import pytest

from ccmusic.batch.whole_file import whole_file
from ccmusic.errors import InsufficientStorage, InvalidParameter
from support.catalogue_rows import names_in


def test_the_file_takes_its_place_at_the_end(tmp_path):
    path = tmp_path / "new" / "a.csv"
    with whole_file(path) as out:
        out.write(b"1")
        assert not path.exists()
    assert path.read_bytes() == b"1"
    assert names_in(path.parent) == ["a.csv"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")
    with pytest.raises(error), whole_file(path) as out:
        out.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["a.csv"]


def test_a_link_stays(tmp_path):
    (tmp_path / "link").symlink_to("target")
    with whole_file(tmp_path / "link") as out:
        out.write(b"1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"1"


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InvalidParameter, match="not a regular file"), whole_file(path):
            pytest.fail("it was opened")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(InsufficientStorage, match=r"No space is left for .*Make room"),
        whole_file(tmp_path / "a") as out,
    ):
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, out.fileno())
        os.close(full)
        out.write(b"1")
    assert names_in(tmp_path) == []


def test_a_place_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidParameter, match="cannot be written"), whole_file(tmp_path / "file" / "a"):
        pytest.fail("it was opened")
