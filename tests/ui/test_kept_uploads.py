"""Quotas and the end of the page's uploads."""

import os
from pathlib import Path

import pytest

from ccmusic.ui.kept_uploads import LEAST_BYTES, KeptUploads

SIZE = 2 * LEAST_BYTES
KEEP, UNFINISHED = 3600.0, 120.0


def upload(directory: Path, name: str, size: int = SIZE) -> str:
    place = directory / f"hash-{name}"
    place.mkdir(exist_ok=True)
    (place / "clip.wav").write_bytes(bytes(size))
    return str(place / "clip.wav")


def left(directory: Path) -> set[str]:
    return {path.parent.name.removeprefix("hash-") for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def kept(tmp_path: Path) -> KeptUploads:
    return KeptUploads(tmp_path, 4 * SIZE, 0.5)


def test_the_oldest_uploads_of_a_client_beyond_its_share_are_deleted(kept, tmp_path):
    for name in "abc":
        kept.add("greedy", [upload(tmp_path, name)])
    assert left(tmp_path) == {"b", "c"}
    assert not (tmp_path / "hash-a").exists()


def test_beyond_the_quota_the_client_with_most_loses_its_oldest_upload(kept, tmp_path):
    kept.add("first", [upload(tmp_path, "first")])
    for name in "ab":
        kept.add("greedy", [upload(tmp_path, name)])
    for client in ("second", "third"):
        kept.add(client, [upload(tmp_path, client)])
    assert left(tmp_path) == {"first", "b", "second", "third"}


def test_many_small_files_count_as_larger_ones(kept, tmp_path):
    for number in range(10):
        kept.add("greedy", [upload(tmp_path, str(number), 1)])
    assert len(left(tmp_path)) == 4


def test_the_same_upload_again_counts_once(kept, tmp_path):
    for _ in range(5):
        kept.add("a", [upload(tmp_path, "a")])
    assert kept.bytes == SIZE
    assert left(tmp_path) == {"a"}


def test_a_file_that_is_gone_is_no_error(kept, tmp_path):
    kept.add("a", [str(tmp_path / "gone" / "clip.wav")])
    assert kept.bytes == 0


def test_old_uploads_are_deleted(kept, tmp_path):
    kept.add("a", [upload(tmp_path, "old")])
    upload(tmp_path, "unknown")
    kept.sweep(0.0, KEEP, UNFINISHED)
    kept.add("a", [upload(tmp_path, "new")])
    kept.sweep(KEEP, KEEP, UNFINISHED)
    assert left(tmp_path) == {"old", "unknown", "new"}
    kept.sweep(KEEP + 1, KEEP, UNFINISHED)
    assert left(tmp_path) == {"new"}
    assert kept.bytes == SIZE


def test_an_upload_that_was_broken_off_is_deleted_soon(kept, tmp_path):
    partial, growing = tmp_path / "tmpabc", tmp_path / "tmpdef"
    partial.write_bytes(b"x")
    growing.write_bytes(b"x")
    kept.sweep(0.0, KEEP, UNFINISHED)
    os.utime(growing, ns=(1, 1))  # written to
    kept.sweep(UNFINISHED + 1, KEEP, UNFINISHED)
    assert (partial.exists(), growing.exists()) == (False, True)


def test_the_files_of_the_page_stay(kept, tmp_path):
    needed = tmp_path / "favicon.svg"
    needed.touch()
    for now in (0.0, 10 * KEEP):
        kept.sweep(now, KEEP, UNFINISHED, [needed])
    assert needed.exists()


def test_what_gradio_has_deleted_does_not_count(kept, tmp_path):
    path = upload(tmp_path, "a")
    kept.add("a", [path])
    Path(path).unlink()
    kept.sweep(0.0, KEEP, UNFINISHED)
    assert kept.bytes == 0
