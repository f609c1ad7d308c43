"""The model's files change while the service runs: no worker with another model ever answers."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ccmusic.models.card import read_card
from ccmusic.models.card_parts import Calibration
from faults.drill import Once, Row
from faults.look import Look
from faults.processes import has_ended
from faults.service import Service
from faults.traffic import SHORT, Traffic, differs, probabilities
from support.bands_model import write_model
from support.waiting import wait_until


def with_other_network(directory: Path) -> None:
    """Another network with its own card."""
    write_model(directory, version="9.9.9")


def with_other_labels(directory: Path) -> None:
    """The same network and hash; two labels of its card are exchanged, which its golden clips cannot notice."""
    card = read_card(directory / "card.json")
    first, second, *others = card.labels
    plain = {"taxonomy": "own", "heads": (), "sure": None}
    golden = tuple(clip.model_copy(update={"heads": {}}) for clip in card.golden)
    card.model_copy(update={**plain, "labels": (second, first, *others), "golden": golden}).save(directory)


def with_other_calibration(directory: Path) -> None:
    """The same network and labels; the probabilities are other ones."""
    card = read_card(directory / "card.json")
    card.model_copy(update={"calibration": (Calibration(seconds=1.0, temperature=5.0),)}).save(directory)


OTHERS: tuple[Callable[[Path], None], ...] = (with_other_network, with_other_labels, with_other_calibration)


def switch(link: Path, directory: Path) -> None:
    """Let a link name another directory, in one step."""
    new = link.with_name("new-link")
    new.symlink_to(directory)
    new.replace(link)


def noticed(cause: str) -> tuple[Callable[[Look], bool], ...]:
    """Signs that the files are not those of the model in use, while that model still answers."""
    return (
        lambda now: now.health.status == 503 and now.reports("model_hash", "fail", cause),
        lambda now: now.measures("model_hash", "fail"),
        lambda now: (now.ready.status, now.live.status) == (200, 200),
    )


def refused(now: Look) -> bool:
    """Whether a new worker was refused because it loaded another model."""
    return (
        now.health.status == 503
        and now.reports("one_model", "fail", "restore the files")
        and now.measures("one_model", "fail")
        and any(worker["error_code"] == "model_replaced" for worker in now.workers)
    )


def require_one_model(row: Row, service: Service, traffic: Traffic) -> None:
    """Every answer of the whole drill, and /health, /v1/models and the next answer, name one model."""
    (model,) = traffic.models
    named = [service.look().body["model"], service.admin("GET", "/v1/models").json["models"][0]]
    named.append(service.classify(SHORT).json["model"])
    assert {(at["name"], at["version"], at["sha256"]) for at in named} == {model}
    row.remark("one model in all answers, in /health and in /v1/models")


@pytest.mark.fault("M10")
def test_a_replaced_model_is_not_loaded_by_a_new_worker(row, under_traffic, model_copy, tmp_path):
    own = Path(shutil.copytree(model_copy, tmp_path / "own"))
    with under_traffic(model=model_copy, workers=2) as (service, traffic):
        for once in row.repeats(service, traffic):
            slowest = recovery = 0.0
            for change in OTHERS:
                once.begin()
                change(model_copy)
                once.detected_when(*noticed("card.json on disk"))
                slowest = max(slowest, once.detected)
                victim = service.worker("idle")
                os.kill(victim, signal.SIGKILL)
                wait_until(lambda: refused(service.look()), "the new worker is refused")
                assert has_ended(victim)
                assert service.look().ready.status == 200
                for _ in range(10):
                    once.judge(service.classify(SHORT), traffic.reference)
                recovery = max(recovery, restore(once, own, model_copy))
            once.detected, once.recovered = slowest, recovery
        require_one_model(row, service, traffic)
        assert traffic.counts()[1:] == (0, {})
    row.remark("another network, two labels exchanged, another calibration: the slowest of the three")


def restore(once: Once, own: Path, directory: Path) -> float:
    """Copy the own files back; returns the seconds until everything is green."""
    back = time.monotonic()
    shutil.copytree(own, directory, dirs_exist_ok=True)
    return once.recovered_when(since=back)


@pytest.mark.fault("M11")
def test_a_switched_link_changes_no_answer_however_workers_are_lost(row, under_traffic, model_copy, tmp_path):
    other = Path(shutil.copytree(model_copy, tmp_path / "other"))
    with_other_calibration(other)
    link = tmp_path / "current"
    link.symlink_to(model_copy)
    with under_traffic(model=link, workers=3, self_test_seconds=1) as (service, traffic):
        for once in row.repeats(service, traffic):
            once.begin()
            switch(link, other)
            once.detected_when(*noticed("calibration"))
            victim = service.worker("idle")
            index = service.index_of(victim)
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: refused(service.look()), "the new worker is refused")
            assert has_ended(victim)
            # a second one is lost by a wrong self-test
            service.inject("corrupt-weights", worker=(index + 1) % 3)

            def two_refused() -> bool:
                codes = [worker["error_code"] for worker in service.look().workers]
                return codes.count("model_replaced") == 2

            wait_until(two_refused, "the second new worker is refused")
            for _ in range(10):
                once.judge(service.classify(SHORT), traffic.reference)
            assert service.look().ready.status == 200
            back = time.monotonic()
            switch(link, model_copy)
            once.recovered_when(since=back)
        require_one_model(row, service, traffic)
        assert traffic.counts()[1:] == (0, {})
    row.remark("one worker killed, one lost by a wrong self-test; the third answers")


@pytest.mark.fault("M12")
def test_half_written_files_are_not_loaded_even_if_every_worker_was_lost(row, start, model_copy, tmp_path):
    own = Path(shutil.copytree(model_copy, tmp_path / "own"))
    other = Path(shutil.copytree(model_copy, tmp_path / "other"))
    with_other_network(other)
    network = (other / "model.onnx").read_bytes()
    with start(model=model_copy, workers=2) as service:
        reference = probabilities(service.classify(SHORT))
        for once in row.repeats(service):
            once.begin()
            (model_copy / "model.onnx").write_bytes(network[: len(network) // 2])
            once.detected_when(*noticed("SHA-256"))
            workers = [worker["pid"] for worker in service.look().workers]
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda pids=workers: all(map(has_ended, pids)), "every worker has ended")
            wait_until(lambda: service.look().unready("SHA-256"), "no new worker loads half a file")
            # the rest is written: now it is a whole other model, first without its card
            (model_copy / "model.onnx").write_bytes(network)
            shutil.copy(other / "card.json", model_copy / "card.json")
            wait_until(lambda: service.look().unready("9.9.9"), "no new worker loads the other model")
            assert refused(service.look())
            answer = service.classify(SHORT)
            assert answer.problem == "model-not-ready", answer.text
            restore(once, own, model_copy)
            once.judge(service.classify(SHORT), reference)
            assert not differs(service.classify(SHORT), reference)
    row.remark("no worker is left: every request is refused, and /readyz is false, until the files are back")
