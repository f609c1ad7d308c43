"""Fetching: cut, begun again, damaged, refused, and kept."""

import io
import shutil
import sys

import pytest

from ccmusic.checkpoints.hub import HubReference, RetryPolicy, pull
from ccmusic.errors import CacheUnwritable, HubUnreachable, ModelRefused
from support.fake_hub import REPOSITORY

from .conftest import CHECKPOINT, IMPATIENT

SIZE = len(CHECKPOINT)
both = pytest.mark.parametrize("source", ["huggingface", "modelscope"])


@pytest.fixture
def bring(hub, cache):
    def bring(source="huggingface", **options):
        reference = HubReference(REPOSITORY, source=source)
        return pull(reference, **{"cache": cache, "endpoint": hub.url, "patience": IMPATIENT, **options})

    return bring


def _partial(cache):
    return list(cache.rglob("*.incomplete"))


def _sent(hub):
    return [(request.range, request.sent_bytes) for request in hub.storage_requests]


@both
def test_a_cut_connection_is_taken_up_where_it_ended(hub, bring, source):
    hub.cut_after = [1_000_000, 500_000]
    assert bring(source).read_bytes() == CHECKPOINT
    assert _sent(hub) == [
        (None, 1_000_000),
        ("bytes=1000000-", 500_000),
        ("bytes=1500000-", SIZE - 1_500_000),
    ]


@both
def test_a_pull_that_gave_up_is_taken_up_by_the_next(hub, bring, cache, source):
    hub.cut_after = [1_000_000, 0, 0, 0]
    with pytest.raises(HubUnreachable, match=f"1000000 of {SIZE} bytes are kept: pull again"):
        bring(source)
    (partial,) = _partial(cache)
    assert partial.read_bytes() == CHECKPOINT[:1_000_000]
    hub.requests.clear()
    assert bring(source).read_bytes() == CHECKPOINT
    assert _sent(hub) == [("bytes=1000000-", SIZE - 1_000_000)]
    assert _partial(cache) == []


def test_each_byte_gives_new_patience(hub, bring):
    hub.cut_after = [100_000] * 20  # IMPATIENT has three tries
    assert bring().read_bytes() == CHECKPOINT
    assert sum(sent for _, sent in _sent(hub)) == SIZE


@both
def test_silence_in_the_midst_counts_as_a_cut(hub, bring, cache, source):
    hub.stalls_at = 1_000_000
    with pytest.raises(HubUnreachable, match="no answer in time"):
        bring(source, patience=RetryPolicy(timeout_seconds=0.2, attempts=1, pause_seconds=0.0))
    (partial,) = _partial(cache)
    assert partial.stat().st_size == 1_000_000
    hub.stalls_at = None
    assert bring(source).read_bytes() == CHECKPOINT


@both
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_in_trouble_is_asked_again(hub, bring, source, status):
    hub.failing, hub.failing_status = 2, status
    assert bring(source).read_bytes() == CHECKPOINT


@both
def test_a_hub_that_stays_in_trouble_is_unreachable(hub, bring, source):
    hub.failing = 1000
    with pytest.raises(HubUnreachable, match=r"cannot be reached: HTTP 503 \(tried 3 times\)"):
        bring(source)
    assert len(hub.requests) == 3


def test_a_server_that_knows_no_range_sends_it_all_again(hub, bring):
    hub.ignores_range = True
    hub.cut_after = [1_000_000]
    assert bring().read_bytes() == CHECKPOINT
    assert _sent(hub) == [(None, 1_000_000), ("bytes=1000000-", SIZE)]


@both
def test_other_bytes_than_promised_are_refused_and_removed(hub, bring, cache, source):
    hub.corrupt = True
    with pytest.raises(ModelRefused, match=r"came with SHA-256 .*\.\.\., the hub promises .* was removed. Pull again"):
        bring(source)
    assert [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size] == []
    hub.corrupt = False
    assert bring(source).read_bytes() == CHECKPOINT


@both
def test_a_file_that_was_damaged_here_is_fetched_again(bring, caplog, source):
    path = bring(source)
    path.write_bytes(CHECKPOINT[:-1] + b"?")
    assert bring(source) == path
    assert path.read_bytes() == CHECKPOINT
    assert "was damaged since it was pulled: removed" in caplog.text


def test_a_file_of_another_size_than_listed_is_refused_before_its_bytes(hub, bring, cache):
    hub.surplus = b"more"
    with pytest.raises(ModelRefused, match=rf"has {SIZE + 4} bytes, the hub's own listing says {SIZE}"):
        bring()
    assert [path for path in _partial(cache) if path.stat().st_size] == []


def test_a_file_that_does_not_end_is_not_written_on(hub, bring, cache):
    hub.surplus, hub.closes_without_length = b"more", True
    with pytest.raises(ModelRefused, match=f"goes on after its {SIZE} bytes; it was removed"):
        bring()
    assert _partial(cache) == []


def test_what_is_longer_than_the_file_is_no_part_of_it(hub, bring, cache):
    path = bring()
    path.rename(path.with_name("save.pt.incomplete"))
    with path.with_name("save.pt.incomplete").open("ab") as file:
        file.write(b"more")
    assert bring().read_bytes() == CHECKPOINT


def test_a_part_that_is_whole_already_is_only_checked(hub, bring):
    path = bring()
    path.rename(path.with_name("save.pt.incomplete"))
    hub.requests.clear()
    assert bring().read_bytes() == CHECKPOINT
    assert _sent(hub) == []


# what this machine does not let us keep


def test_too_small_a_disk_is_told_before_anything_is_fetched(hub, bring, monkeypatch):
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 1_000_000, 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CacheUnwritable, match="has 1 MB free, 3 MB are still to be fetched: make room"):
        bring()
    assert hub.storage_requests == []


def test_a_disk_that_fills_up_meanwhile(bring, hub):
    path = bring()
    path.unlink()
    path.with_name("save.pt.incomplete").symlink_to("/dev/full")
    with pytest.raises(CacheUnwritable, match=r"No space left on device. Make room there.*the next pull goes on"):
        bring()


def test_a_cache_that_cannot_be_made(bring, cache):
    cache.write_text("a file where the directory should be")
    with pytest.raises(CacheUnwritable, match=r"cannot be read or written: Not a directory. Give this user the right"):
        bring()


# what is shown


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_how_far_it_is(hub, bring, monkeypatch):
    monkeypatch.setattr(sys, "stderr", _Terminal())
    hub.cut_after = [1_500_000, 0, 0, 0]
    with pytest.raises(HubUnreachable):
        bring()
    shown = sys.stderr.getvalue()
    assert "vgg19_bn_cqt:  50%|" in shown
    assert "1.50M/3.00M" in shown
    monkeypatch.setattr(sys, "stderr", _Terminal())
    bring()
    assert sys.stderr.getvalue().lstrip("\r").startswith("vgg19_bn_cqt:  50%|")  # and where it goes on from
    assert "100%|" in sys.stderr.getvalue()


def test_nothing_is_shown_without_a_terminal_or_when_not_wanted(bring, monkeypatch, capsys, cache):
    bring()
    assert capsys.readouterr().err == ""
    shutil.rmtree(cache)
    monkeypatch.setattr(sys, "stderr", _Terminal())
    bring(progress=False)
    assert sys.stderr.getvalue() == ""
