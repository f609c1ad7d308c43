"""Injected faults: what a worker does with them, without a worker."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from ccmusic.audio.limits import DecodeLimits
from ccmusic.audio.windows import WindowPlan
from ccmusic.models.store import locate
from ccmusic.workers import faults
from ccmusic.workers.channel import Job, WorkerOptions
from ccmusic.workers.faults import ActiveFaults
from support.bands_model import band_network

SONG = Job(b"RIFF", WindowPlan(), False)
MARKED = Job(b"RIFF" + faults.MARK + b"error", WindowPlan(), False)


@pytest.fixture
def make_faults(tmp_path):
    def make(*, fault_injection: bool = True, **active: float) -> ActiveFaults:
        location = locate(str(tmp_path))
        limits = DecodeLimits()
        options = WorkerOptions(location, limits, 1, 0, fault_injection, tuple(active.items()))
        return ActiveFaults(options)

    return make


def test_every_fault_that_is_active_until_cleared_or_has_a_size_exists():
    assert faults.STICKY | faults.FROM_OUTSIDE | set(faults.DEFAULT_SIZE) <= set(faults.FAULTS)


def test_a_fault_from_the_start_is_active_until_it_is_cleared(make_faults):
    active = make_faults(error=1.0)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="a fault was injected"):
            active.before(SONG)
    active.inject("clear", 0.0, None)
    active.before(SONG)


def test_an_injected_fault_is_active_until_it_is_cleared(make_faults):
    active = make_faults()
    active.before(SONG)
    assert active.inject("error", 1.0, None) == 0
    with pytest.raises(RuntimeError, match="a fault was injected"):
        active.before(SONG)


def test_a_recording_can_inject_a_fault_for_its_own_job(make_faults):
    active = make_faults()
    with pytest.raises(RuntimeError, match="a fault was injected"):
        active.before(MARKED)
    active.before(SONG)


def test_a_recording_in_a_file_can_too(make_faults, tmp_path):
    file = tmp_path / "large.wav"
    file.write_bytes(bytes(1000) + MARKED.source)
    with pytest.raises(RuntimeError, match="a fault was injected"):
        make_faults().before(Job(file, WindowPlan(), False))


def test_nothing_happens_unless_faults_are_allowed(make_faults):
    active = make_faults(fault_injection=False, error=1.0)
    assert active.inject("error", 1.0, None) == 0
    active.before(SONG)
    active.before(MARKED)


def test_the_float_tensors_of_a_network_are_found_in_its_bytes():
    network = band_network()
    model = onnx.load_from_string(network)
    expected = [t.raw_data for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    found = list(faults.float_tensors(network))
    assert found == expected
    assert np.isfinite(np.frombuffer(found[0], np.float32)).all()
