"""Downloads that break, resume, fail their checks, or find no space."""

import io
import shutil
import sys

import pytest

from ccmusic.checkpoints.hub import HubReference, RetryPolicy, pull
from ccmusic.errors import CacheUnwritable, HubUnreachable, ModelRefused
from support.fake_hub import REPOSITORY

from .conftest import CHECKPOINT, FAST_RETRY

SIZE = len(CHECKPOINT)
both = pytest.mark.parametrize("source", ["huggingface", "modelscope"])


@pytest.fixture
def pull_from_fake(hub, cache):
    def pull_from_fake(source="huggingface", **options):
        reference = HubReference(REPOSITORY, source=source)
        return pull(reference, **{"cache": cache, "endpoint": hub.url, "retry_policy": FAST_RETRY, **options})

    return pull_from_fake


def _partial(cache):
    return list(cache.rglob("*.incomplete"))


def _sent(hub):
    return [(request.range, request.sent_bytes) for request in hub.storage_requests]


@both
def test_a_broken_download_resumes_where_it_ended(hub, pull_from_fake, source):
    hub.cut_after = [1_000_000, 500_000]
    assert pull_from_fake(source).read_bytes() == CHECKPOINT
    assert _sent(hub) == [
        (None, 1_000_000),
        ("bytes=1000000-", 500_000),
        ("bytes=1500000-", SIZE - 1_500_000),
    ]


@both
def test_the_next_pull_resumes_a_failed_one(hub, pull_from_fake, cache, source):
    hub.cut_after = [1_000_000, 0, 0, 0]
    with pytest.raises(HubUnreachable, match=f"1000000 of {SIZE} bytes are kept: pull again"):
        pull_from_fake(source)
    (partial,) = _partial(cache)
    assert partial.read_bytes() == CHECKPOINT[:1_000_000]
    hub.requests.clear()
    assert pull_from_fake(source).read_bytes() == CHECKPOINT
    assert _sent(hub) == [("bytes=1000000-", SIZE - 1_000_000)]
    assert _partial(cache) == []


def test_a_received_byte_resets_the_count_of_failed_tries(hub, pull_from_fake):
    hub.cut_after = [100_000] * 20  # FAST_RETRY allows three tries
    assert pull_from_fake().read_bytes() == CHECKPOINT
    assert sum(sent for _, sent in _sent(hub)) == SIZE


@both
def test_silence_counts_as_a_broken_connection(hub, pull_from_fake, cache, source):
    hub.stalls_at = 1_000_000
    with pytest.raises(HubUnreachable, match="no answer in time"):
        # long enough for what the hub does send, also on a busy machine
        pull_from_fake(source, retry_policy=RetryPolicy(timeout_seconds=8.0, attempts=1, pause_seconds=0.0))
    (partial,) = _partial(cache)
    assert partial.stat().st_size == 1_000_000
    hub.stalls_at = None
    assert pull_from_fake(source).read_bytes() == CHECKPOINT


@both
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_failing_hub_is_tried_again(hub, pull_from_fake, source, status):
    hub.failing, hub.failing_status = 2, status
    assert pull_from_fake(source).read_bytes() == CHECKPOINT


@both
def test_a_hub_that_keeps_failing_is_unreachable(hub, pull_from_fake, source):
    hub.failing = 1000
    with pytest.raises(HubUnreachable, match=r"cannot be reached: HTTP 503 \(tried 3 times\)"):
        pull_from_fake(source)
    assert len(hub.requests) == 3


def test_a_server_without_range_support_sends_the_whole_file_again(hub, pull_from_fake):
    hub.ignores_range = True
    hub.cut_after = [1_000_000]
    assert pull_from_fake().read_bytes() == CHECKPOINT
    assert _sent(hub) == [(None, 1_000_000), ("bytes=1000000-", SIZE)]


@both
def test_bytes_with_another_hash_are_refused_and_removed(hub, pull_from_fake, cache, source):
    hub.corrupt = True
    with pytest.raises(ModelRefused, match=r"came with SHA-256 .*\.\.\., the hub lists .* was removed. Pull again"):
        pull_from_fake(source)
    assert [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size] == []
    hub.corrupt = False
    assert pull_from_fake(source).read_bytes() == CHECKPOINT


@both
def test_a_file_that_was_damaged_in_the_cache_is_downloaded_again(pull_from_fake, caplog, source):
    path = pull_from_fake(source)
    path.write_bytes(CHECKPOINT[:-1] + b"?")
    assert pull_from_fake(source) == path
    assert path.read_bytes() == CHECKPOINT
    assert "was damaged since it was pulled: removed" in caplog.text


def test_a_file_of_another_size_than_listed_is_refused_before_the_download(hub, pull_from_fake, cache):
    hub.surplus = b"more"
    with pytest.raises(ModelRefused, match=rf"has {SIZE + 4} bytes, but {SIZE} in the hub's own listing"):
        pull_from_fake()
    assert [path for path in _partial(cache) if path.stat().st_size] == []


def test_bytes_beyond_the_listed_size_are_refused(hub, pull_from_fake, cache):
    hub.surplus, hub.closes_without_length = b"more", True
    with pytest.raises(ModelRefused, match=f"has more than its {SIZE} bytes; it was removed"):
        pull_from_fake()
    assert _partial(cache) == []


def test_a_partial_file_longer_than_the_file_is_discarded(hub, pull_from_fake, cache):
    path = pull_from_fake()
    path.rename(path.with_name("save.pt.incomplete"))
    with path.with_name("save.pt.incomplete").open("ab") as file:
        file.write(b"more")
    assert pull_from_fake().read_bytes() == CHECKPOINT


def test_a_partial_file_that_is_complete_is_checked_without_a_download(hub, pull_from_fake):
    path = pull_from_fake()
    path.rename(path.with_name("save.pt.incomplete"))
    hub.requests.clear()
    assert pull_from_fake().read_bytes() == CHECKPOINT
    assert _sent(hub) == []


# full and unwritable disks


def test_too_little_disk_space_is_reported_before_the_download(hub, pull_from_fake, monkeypatch):
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 1_000_000, 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CacheUnwritable, match="has 1 MB free, and 3 MB are still to be fetched: free some space"):
        pull_from_fake()
    assert hub.storage_requests == []


def test_a_disk_that_fills_up_during_the_download(pull_from_fake, hub):
    path = pull_from_fake()
    path.unlink()
    path.with_name("save.pt.incomplete").symlink_to("/dev/full")
    with pytest.raises(CacheUnwritable, match=r"No space left on device. Free some space there.*the next pull resumes"):
        pull_from_fake()


def test_a_cache_directory_that_cannot_be_created(pull_from_fake, cache):
    cache.write_text("a file where the directory should be")
    with pytest.raises(CacheUnwritable, match=r"cannot be read or written: Not a directory. Give this user permission"):
        pull_from_fake()


# the progress bar


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_a_progress_bar(hub, pull_from_fake, monkeypatch):
    monkeypatch.setattr(sys, "stderr", _Terminal())
    hub.cut_after = [1_500_000, 0, 0, 0]
    with pytest.raises(HubUnreachable):
        pull_from_fake()
    shown = sys.stderr.getvalue()
    assert "vgg19_bn_cqt:  50%|" in shown
    assert "1.50M/3.00M" in shown
    monkeypatch.setattr(sys, "stderr", _Terminal())
    pull_from_fake()
    assert sys.stderr.getvalue().lstrip("\r").startswith("vgg19_bn_cqt:  50%|")  # where it resumes
    assert "100%|" in sys.stderr.getvalue()


def test_without_a_terminal_or_with_progress_off_there_is_no_bar(pull_from_fake, monkeypatch, capsys, cache):
    pull_from_fake()
    assert capsys.readouterr().err == ""
    shutil.rmtree(cache)
    monkeypatch.setattr(sys, "stderr", _Terminal())
    pull_from_fake(progress=False)
    assert sys.stderr.getvalue() == ""
