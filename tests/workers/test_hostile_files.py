"""A real worker and files that are small on disk and large in memory or time."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from ccmusic.errors import AudioError, EmptyAudio, TooCostly, UnsupportedMedia
from ccmusic.inference.result import TrackResult
from ccmusic.settings import read_settings
from support.encoding import tone, wav_header, with_soundfile
from support.hostile_files import HOSTILE
from support.one_worker import OneWorker

MB = 2**20
MOST_MEGABYTES = 200
"""Tables take at most `decode_memory_bytes`, which is half of this."""
MOST_PROCESSOR_SECONDS = 1.5
"""The kernel ends a decoding after 0.8 seconds; the rest is for the music."""


@pytest.fixture(scope="module")
def worker():
    worker = OneWorker(read_settings())
    yield worker
    worker.stop()


HOURS = [name for name in HOSTILE if "hour" in name]
TABLES = [name for name in HOSTILE if name not in HOURS]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_costs_little_memory_and_time(worker, name):
    cost = worker.classify(HOSTILE[name]())
    assert cost.megabytes < MOST_MEGABYTES, cost
    assert cost.processor_seconds < MOST_PROCESSOR_SECONDS, cost
    assert isinstance(cost.answer, TrackResult | AudioError) or "more processor time" in cost.text, cost


def test_the_worker_answers_as_before(worker):
    cost = worker.classify(with_soundfile("WAV", "PCM_16", tone(2.0)))
    assert isinstance(cost.answer, TrackResult)
    assert cost.answer.duration_seconds == 2.0


@pytest.mark.parametrize("name", ["mp4-sample-sizes", "mp4-fragments"])
def test_memory_that_no_music_needs_is_refused_and_the_worker_lives(name):
    """With much processor time, which a slow machine would use up first."""
    worker = OneWorker(read_settings(decode_seconds=60.0))
    try:
        before = worker.process().pid
        assert isinstance(worker.classify(HOSTILE[name]()).answer, TooCostly | EmptyAudio)
        assert worker.process().pid == before
    finally:
        worker.stop()


@pytest.mark.parametrize(
    "name", ["wav-chunks", "wav-lists", "mp4-tags", "mp4-packets-of-one-frame", "mp4-packets-of-no-sound", "mp4-edits"]
)
def test_time_that_no_music_needs_is_refused_and_the_worker_lives(worker, name):
    before = worker.process().pid
    assert isinstance(worker.classify(HOSTILE[name]()).answer, TooCostly)
    assert worker.process().pid == before


@pytest.mark.parametrize("name", ["mp3-texts", "aac-texts"])
def test_no_decoder_reads_the_tag_in_front(worker, name):
    cost = worker.classify(HOSTILE[name]())
    assert isinstance(cost.answer, TrackResult), cost
    assert "truncated" not in cost.answer.flags


@pytest.mark.parametrize("name", ["mkv-tags", "ogg-comments"])
def test_a_library_that_does_not_return_ends_with_the_worker(worker, name):
    cost = worker.classify(HOSTILE[name]())
    assert (cost.answer, cost.text) == (None, "ended: decoding its recording took more processor time than is allowed")


def test_a_codec_of_no_music_is_refused(worker):
    assert isinstance(worker.classify(HOSTILE["wav-g723"]()).answer, UnsupportedMedia)


def test_hours_in_few_bytes_are_refused():
    """With a tenth of the shipped limits, which take minutes of a slow machine."""
    shipped = read_settings()
    worker = OneWorker(read_settings(max_seconds=shipped.max_seconds / 10, max_samples=shipped.max_samples // 10))
    try:
        for name in HOURS:
            cost = worker.classify(HOSTILE[name]())
            assert isinstance(cost.answer, AudioError), cost
            assert cost.megabytes < MOST_MEGABYTES, cost
    finally:
        worker.stop()


def test_an_hour_takes_little_more_memory_than_its_waveform(worker):
    """The waveform takes 317 MB, and half of that again at half its rate; the file is no longer held then."""
    content = wav_header(4000, 1, 2 * 4000 * 3590) + bytes(2 * 4000 * 3590) + bytes(60 * MB)
    cost = worker.classify(content)
    assert isinstance(cost.answer, TrackResult)
    assert cost.megabytes < 512, cost


def test_the_kernel_bounds_a_worker(worker):
    pid = worker.process().pid
    assert [resource.prlimit(pid, kind)[1] for kind in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE)] == [0, 256]
    assert "Seccomp:\t2\n" in Path(f"/proc/{pid}/status").read_text()
    worker.classify(HOSTILE["mp4-tags"]())
    assert resource.prlimit(pid, resource.RLIMIT_AS)[0] == resource.getrlimit(resource.RLIMIT_AS)[0]
