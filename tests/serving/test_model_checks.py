"""The checks of the model, each as a function of records, without a process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ccmusic.errors import DependencyUnavailable, ModelRefused, ModelReplaced
from ccmusic.inference.result import ModelIdentity
from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.models.store import locate
from ccmusic.serving import model_checks as checks
from ccmusic.serving.model_checks import ModelHash
from ccmusic.workers.records import load_error_code
from ccmusic.workers.supervisor_state import SupervisorState
from support.bands_model import write_model
from support.supervisor_states import FAILED, IDLE, READY, SERVED, STARTING


def test_the_model_passes_once_it_is_verified():
    assert checks.model_check(READY).status == "pass"


def test_the_model_fails_while_it_loads_and_shows_the_stage():
    observation = checks.model_check(SupervisorState(workers=(STARTING,), preparing="building vgg19_bn"))
    assert (observation.status, observation.value) == ("fail", "building vgg19_bn")
    assert observation.message == "Model is still loading..."


def test_the_model_is_loading_before_there_are_workers():
    assert checks.model_check(SupervisorState()).cause == "still loading"


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (ModelRefused("no such operator"), "Model loading failed: no such operator"),
        (DependencyUnavailable("no such operator"), "Health check failed: no such operator"),
        (ModelReplaced("no such operator"), "Model loading failed: no such operator"),
    ],
)
def test_the_model_fails_when_no_worker_can_load_it(failure, message):
    observation = checks.model_check(SupervisorState(workers=(FAILED,), load_failure=failure))
    assert (observation.status, observation.message) == ("fail", message)
    assert observation.code == load_error_code(failure)


def test_a_worker_that_was_refused_for_its_model_fails_the_check_of_one_model():
    assert checks.one_model_check(replace(READY, workers=(IDLE, FAILED))).status == "pass"
    refused = replace(FAILED, index=1, error="another model", error_code="model_replaced")
    observation = checks.one_model_check(replace(READY, workers=(IDLE, refused)))
    assert (observation.status, observation.code) == ("fail", "model_replaced")
    assert observation.cause == "worker 1: another model"


def test_the_model_passes_while_one_worker_of_two_cannot_load_it():
    assert checks.model_check(replace(READY, workers=(IDLE, FAILED))).status == "pass"


def test_the_choice_of_the_model_warns_of_every_caveat():
    assert checks.model_choice_check(READY).status == "pass"
    served = replace(SERVED, caveat="int8 is not available")
    observation = checks.model_choice_check(replace(READY, served=served, preparation_caveat="could not be fetched"))
    assert (observation.status, observation.cause) == ("warn", "could not be fetched; int8 is not available")


@pytest.fixture
def on_disk(tmp_path):
    """The state of a service whose model is in `tmp_path`."""
    write_model(tmp_path)
    location = locate(str(tmp_path))
    card = read_card(tmp_path / CARD_NAME)
    served = replace(SERVED, identity=ModelIdentity("bands", "0.0.1", card.sha256), answer_hashes=card.answer_hashes())
    return SupervisorState(served=served, location=location, workers=(IDLE,))


def test_the_model_hash_passes_without_a_model():
    assert ModelHash(60.0)(SupervisorState()).status == "pass"


def test_the_model_hash_fails_when_the_file_is_altered(on_disk, tmp_path):
    model_hash = ModelHash(3600.0)
    assert model_hash(on_disk).value == on_disk.served.identity.sha256[:12]
    (tmp_path / "model.onnx").write_bytes(b"another network")
    assert "the next start would not load it" in model_hash(on_disk).cause


def test_the_model_hash_fails_when_the_card_is_another_one(on_disk, tmp_path):
    write_model(tmp_path, uncertain_below=0.9)
    observation = ModelHash(3600.0)(on_disk)
    assert (observation.status, observation.code) == ("fail", "file_changed")
    assert "uncertain_below" in observation.cause


def test_a_card_that_cannot_be_read_fails_the_model_hash(on_disk, tmp_path):
    (tmp_path / CARD_NAME).write_text("{}")
    assert "cannot be read" in ModelHash(60.0)(on_disk).cause
