"""The processor time and the memory that decoding may take."""

from __future__ import annotations

import io

import numpy as np
import pytest

from ccmusic.audio import budget as budget_module
from ccmusic.audio import decode as decode_module
from ccmusic.audio import decoders
from ccmusic.audio.audio_file import AudioFile
from ccmusic.audio.budget import Budget
from ccmusic.audio.decode import DecodeLimits, decode
from ccmusic.audio.waveform import WaveformSink
from ccmusic.errors import AudioTooLong, EmptyAudio, TooCostly, UndecodableAudio, UnsupportedMedia
from support.encoding import tone, with_soundfile

LIMITS = DecodeLimits(decode_seconds=0.5, decode_share=0.1)


class Clock:
    """Processor time that passes when a test says so, and as much other time."""

    now = 100.0
    asked = 0

    def thread_time(self) -> float:
        self.asked += 1
        return self.now

    def perf_counter(self) -> float:
        return self.now + 5.0


class StubKernel:
    """Notes the bounds."""

    def __init__(self, *, holds_memory: bool = False) -> None:
        self.holds_memory = holds_memory
        self.allowed: list[tuple[float, float]] = []
        self.lifted = 0

    def allow(self, music_seconds: float, processor_seconds: float) -> None:
        self.allowed.append((music_seconds, pytest.approx(processor_seconds)))

    def lift(self) -> None:
        self.lifted += 1


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(budget_module, "time", clock)
    return clock


def test_the_budget_grows_with_the_music(clock):
    kernel = StubKernel()
    with Budget(LIMITS, kernel) as budget:
        clock.now += 0.4
        budget.note_music(3.0)  # too little for a new bound of the kernel
        budget.note_music(20.0)
        clock.now += 2.0
        assert not budget.is_spent
        clock.now += 0.2
        assert budget.is_spent
        for check in (budget.check, lambda: budget.note_music(20.1)):
            with pytest.raises(TooCostly, match="processor time"):
                check()
    assert kernel.allowed == [(0.0, 0.5), (20.0, 2.1)]
    assert kernel.lifted == 1


def test_the_budget_grows_with_the_samples_of_many_channels_and_high_rates(clock):
    kernel = StubKernel()
    with Budget(LIMITS, kernel) as budget:
        budget.note_music(2.0, 2 * 8 * 48_000)  # as much as stereo
        clock.now += 0.6
        assert not budget.is_spent
        budget.note_music(2.0, 2 * 8 * 384_000)
        clock.now += 1.4
        assert not budget.is_spent
        clock.now += 0.2
        assert budget.is_spent
    assert kernel.allowed == [(0.0, 0.5), (2.0, 1.5)]


def test_the_time_for_many_channels_is_counted_by_what_was_decoded(clock):
    with Budget(LIMITS) as budget:
        sink = WaveformSink(LIMITS, budget, None)
        sink.start(48_000, 32)
        sink.write(np.full((48_000, 32), 0.1, dtype=np.float32))
        clock.now += 0.8
        assert not budget.is_spent
        clock.now += 0.2
        assert budget.is_spent


def test_the_processor_time_is_not_asked_for_while_it_cannot_be_used_up(clock):
    with Budget(LIMITS) as budget:
        asked = clock.asked
        for _ in range(100):
            clock.now += 0.004
            assert not budget.is_spent
        assert clock.asked == asked + 1
        clock.now += 0.2
        assert budget.is_spent
        assert budget.is_spent


def test_counting_allows_a_little_more_time_and_no_more_memory(clock):
    kernel = StubKernel()
    with Budget(LIMITS, kernel) as budget:
        clock.now += 0.4
        budget.note_counted(1000.0)
        clock.now += 0.5
        assert not budget.is_spent
        clock.now += 0.2
        assert budget.is_spent
    assert kernel.allowed == [(0.0, 0.5), (0.0, 0.6)]


def test_a_file_reads_as_ended_when_the_budget_is_spent(clock):
    with Budget(LIMITS) as budget:
        file = AudioFile(io.BytesIO(b"abcdef"), budget)
        assert file.read(2) == b"ab"
        clock.now += 0.6
        assert file.read(2) == b""
        assert file.readinto(memoryview(bytearray(2))) == 0


@pytest.mark.parametrize("error", [UndecodableAudio, UnsupportedMedia, EmptyAudio])
def test_a_file_that_reads_as_ended_is_not_called_broken(clock, error):
    with pytest.raises(TooCostly, match="processor time"), Budget(LIMITS):
        clock.now += 0.6
        raise error("broken")


def test_what_is_known_of_the_recording_is_said_whatever_it_cost(clock):
    with pytest.raises(AudioTooLong), Budget(LIMITS):
        clock.now += 0.6
        raise AudioTooLong("too long")


def test_memory_that_the_kernel_refuses_is_the_recordings_cost_only_if_our_bound_is_the_lowest():
    with pytest.raises(TooCostly, match="memory"), Budget(LIMITS, StubKernel(holds_memory=True)):
        raise MemoryError
    with pytest.raises(MemoryError), Budget(LIMITS, StubKernel()):
        raise MemoryError


def test_packets_without_sound_have_their_cost_too(clock):
    class Media:
        """A thousand packets that hold nothing, and for which nothing is read from the file."""

        def demux(self, stream):
            for _ in range(1000):
                clock.now += 0.1
                yield self

        def decode(self) -> list:
            return []

    with pytest.raises(TooCostly, match="processor time"), Budget(LIMITS) as budget:
        decoders._read_packets(Media(), None, WaveformSink(LIMITS, budget, None))


def test_a_recording_that_costs_more_than_its_music_is_refused(monkeypatch, clock):
    """Each block costs a second of processor time."""
    write = decode_module.WaveformSink.write

    def costly(self, block) -> None:
        clock.now += 1.0
        write(self, block)

    monkeypatch.setattr(decode_module.WaveformSink, "write", costly)
    content = with_soundfile("WAV", "PCM_16", tone(20.0, 8000, 1), 8000)
    with pytest.raises(TooCostly):
        decode(content, LIMITS)
    kernel = StubKernel()
    assert decode(content, DecodeLimits(decode_share=1.0), kernel=kernel).duration_seconds == 20.0
    assert kernel.lifted == 1
