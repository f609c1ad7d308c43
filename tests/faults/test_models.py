"""Models that are missing, damaged, wrong or malicious."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ccmusic.models.card import read_card
from faults.processes import has_ended
from faults.service import Service
from faults.traffic import SHORT, differs, probabilities

LIVE = 200


def refused(service: Service, pattern: str):
    """Sign that the model was not loaded, with the cause in /health and /readyz, while /livez is true."""

    def sign(now) -> bool:
        return (
            now.health is not None
            and now.health.status == 503
            and now.body["message"].startswith("Model loading failed: ")
            and pattern in now.body["message"]
            and now.unready(r"(?i)model")
            and now.live.status == LIVE
        )

    return sign


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.fault("M1")
def test_a_missing_model_is_named_and_the_other_routes_answer(row, start, model_copy):
    away = model_copy.with_name("away")
    for once in row.repeats():
        model_copy.rename(away)
        assert not model_copy.exists()
        with start(wait=False, model=model_copy) as service:
            once.service = service
            once.since = service.named_at
            once.detected_when(
                lambda now: (
                    now.health is not None
                    and now.health.status == 503
                    and now.body["message"] == f"Model file not found: {model_copy}"
                ),
                lambda now: now.measures("model_file", "fail"),
            )
            look = service.look()
            assert (look.live.status, look.ready.status) == (200, 503)
            assert service.admin("GET", "/docs").status == 200
            assert service.classify(SHORT).problem == "model-not-ready"
            back = time.monotonic()
            away.rename(model_copy)
            once.recovered_when(since=back)
    row.remark("counted from the line with the port")


@pytest.mark.fault("M2")
def test_a_deleted_model_file_is_noticed_and_requests_are_still_answered(row, under_traffic, model_copy):
    network = model_copy / "model.onnx"
    content = network.read_bytes()
    with under_traffic(model=model_copy) as (service, traffic):
        for once in row.repeats(service, traffic):
            once.begin()
            network.unlink()
            assert not network.exists()
            once.detected_when(
                lambda now: (
                    now.health.status == 503
                    and now.body["message"] == f"Model file not found: {network}"
                    and now.ready.status == 200
                    and now.live.status == LIVE
                ),
                lambda now: now.measures("model_file", "fail"),
            )
            once.judge(service.classify(SHORT), traffic.reference)
            back = time.monotonic()
            network.write_bytes(content)
            once.recovered_when(since=back)
        assert not traffic.counts()[2]


@pytest.mark.fault("M3")
def test_a_truncated_or_altered_model_file_is_not_loaded(row, under_traffic, model_copy):
    network = model_copy / "model.onnx"
    content = network.read_bytes()
    with under_traffic(model=model_copy, model_hash_seconds=1, workers=2) as (service, traffic):
        for once in row.repeats(service, traffic):
            before = digest(network)
            once.begin()
            if once.number % 2:
                os.truncate(network, len(content) // 2)
            else:
                place = len(content) // 2
                subprocess.run(
                    ["dd", f"of={network}", "bs=1", f"seek={place}", "conv=notrunc", "status=none"],
                    input=bytes(byte ^ 0xFF for byte in content[place : place + 4]),
                    check=True,
                )
            assert digest(network) != before
            # noticed on disk, while every worker still has the old model
            once.detected_when(
                lambda now: now.health.status == 503 and now.reports("model_hash", "fail", "SHA-256"),
                lambda now: now.measures("model_hash", "fail"),
                lambda now: now.ready.status == 200,
            )
            row.figure("seconds until the changed file is noticed", once.detected)
            victim = service.worker("idle")
            once.begin()
            os.kill(victim, signal.SIGKILL)
            once.detected_when(
                lambda now: any("SHA-256" in (w["error"] or "") for w in now.workers) and now.ready.status == 200,
                lambda now: any(now.reports("workers", status) for status in ("warn", "fail")),
                lambda now: now.metric("ccmusic_workers", state="failed") >= 1,
            )
            assert has_ended(victim)
            once.within = service.classify(SHORT).status == 200
            back = time.monotonic()
            network.write_bytes(content)
            once.recovered_when(since=back)
        assert not traffic.counts()[2]
    row.remark("detected = from the end of a worker until its replacement refuses the file; the other workers continue")


@pytest.mark.fault("M6")
def test_a_wrong_card_is_not_served(row, start, model_copy):
    honest = read_card(model_copy / "card.json")
    labels = list(honest.labels)
    permuted = (labels[1], labels[0], *labels[2:])
    fewer = tuple(clip.model_copy(update={"logits": clip.logits[:-1]}) for clip in honest.golden)
    swapped = tuple(
        clip.model_copy(update={"logits": (clip.logits[1], clip.logits[0], *clip.logits[2:])}) for clip in honest.golden
    )
    cases = (
        ({"labels": permuted}, "labels"),
        ({"labels": tuple(labels[:-1]), "golden": fewer, "reference_mix": None, "reference": None}, "labels"),
        ({"golden": swapped}, "golden clip"),
    )
    for once in row.repeats():
        slowest = 0.0
        for changes, cause in cases:
            before = digest(model_copy / "card.json")
            honest.model_copy(update=changes).save(model_copy)
            assert digest(model_copy / "card.json") != before
            with start(wait=False, model=model_copy) as service:
                once.service = service
                once.since = service.named_at
                sign = refused(service, cause)
                once.detected_when(sign, lambda now: now.measures("model", "fail"))
                slowest = max(slowest, once.detected)
                assert service.classify(SHORT).problem == "model-not-ready"
                assert service.look().metric("ccmusic_workers", state="idle") == 0
                back = time.monotonic()
                honest.save(model_copy)
                once.recovered_when(since=back)
        once.detected = slowest
        once.within = True
    row.remark(
        "two labels swapped, 15 labels, two logits of the golden clips swapped; counted from the line with the port"
    )


@pytest.mark.fault("M7")
def test_a_skewed_pipeline_is_not_served(row, start):
    for once in row.repeats():
        slowest = 0.0
        for skew in ("skew-resampler", "skew-hop", "skew-db"):
            with start(wait=False, faults=skew) as service:
                once.service = service
                once.since = service.named_at
                once.detected_when(refused(service, "golden"), lambda now: now.measures("model", "fail"))
                slowest = max(slowest, once.detected)
                assert service.classify(SHORT).problem == "model-not-ready"
                back = time.monotonic()
                service.clear_faults()
                once.recovered_when(since=back)
        once.detected = slowest
        once.within = True
    row.remark("the slowest of three: another resampler, hop, dB reference; counted from the line with the port")


class _Malicious:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self):
        return Path.touch, (self._marker,)


@pytest.mark.fault("M9")
def test_code_in_a_checkpoint_is_not_executed_and_the_checkpoint_is_refused(row, start, tmp_path, model_copy):
    marker = tmp_path / "executed"
    evil = tmp_path / "evil" / "evil.pt"
    evil.parent.mkdir()
    evil.write_bytes(pickle.dumps(_Malicious(marker)))
    # the proof: unpickling executes the code
    unpickle = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
    subprocess.run([sys.executable, "-c", unpickle, str(evil)], check=True)
    assert marker.exists()
    marker.unlink()
    for once in row.repeats():
        with start(wait=False, model=evil) as service:
            once.service = service
            once.since = service.named_at
            once.detected_when(refused(service, str(evil)), lambda now: now.measures("model", "fail"))
            once.within = not marker.exists()
            message = service.look().body["message"]
            assert any(word in message for word in ("pickle", "checkpoint")), message
            assert not marker.exists()
            assert service.classify(SHORT).problem == "model-not-ready"
            # the operator replaces it by a model directory
            back = time.monotonic()
            hidden = evil.with_name("kept.pt")
            evil.rename(hidden)
            shutil.copytree(model_copy, evil)
            once.recovered_when(since=back)
            reference = probabilities(service.classify(SHORT))
            assert not differs(service.classify(SHORT), reference)
            shutil.rmtree(evil)
            hidden.rename(evil)
            assert not marker.exists()
    row.remark("as proof, another process executed the code first; counted from the line with the port")
