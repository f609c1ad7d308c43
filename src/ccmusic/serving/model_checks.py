"""The checks of the model in use, its files and the directory of other models."""

from __future__ import annotations

from pathlib import Path

from ccmusic.errors import ModelError
from ccmusic.health import Observation, failed, passed, warned
from ccmusic.workers.model_files import ModelFiles
from ccmusic.workers.records import load_error_code
from ccmusic.workers.supervisor_state import SupervisorState


def missing_file(state: SupervisorState) -> Path | str | None:
    """What is missing of the model's files; None if nothing is."""
    return None if state.location is None else state.location.missing()


def model_check(state: SupervisorState) -> Observation:
    """Fails while no worker has verified a model, and when no worker can load it."""
    match state.model_status:
        case "ready":
            return passed()
        case "loading":
            code = "loading" if state.preparing is None else "preparing"
            return failed("still loading", state.preparing, code=code, message="Model is still loading...")
    error, code = state.load_error, load_error_code(state.load_failure)
    reason = "Health check failed" if code == "dependency_missing" else "Model loading failed"
    return failed(f"{error}", code=code, message=f"{reason}: {error}")


def one_model_check(state: SupervisorState) -> Observation:
    """Fails while a worker is not replaced because its successor would answer with another model than the others."""
    refused = [worker for worker in state.workers if worker.error_code == "model_replaced"]
    if not refused:
        return passed()
    return failed(f"worker {refused[0].index}: {refused[0].error}", len(refused), code="model_replaced")


def model_choice_check(state: SupervisorState) -> Observation:
    """Warns when something else is served than the configuration asks for."""
    return passed() if state.caveat is None else warned(state.caveat, code="other_model")


class ModelHash:
    """Compares the model's files with the model in use: the card always, the network when it has changed on disk, and
    periodically. Fails if a new worker would not load the model in use.

    Parameters
    ----------
    period_seconds : float
        Longest time between two hashes of the network.
    """

    def __init__(self, period_seconds: float) -> None:
        self._files = ModelFiles(period_seconds)

    def __call__(self, state: SupervisorState) -> Observation:
        """Check the file of the model in use."""
        location, served = state.location, state.served
        if served is None or location is None or location.directory is None or location.missing() is not None:
            return passed()  # there is no model yet, or the check of the model file reports it
        try:
            difference = self._files.difference(location, served)
        except (OSError, ModelError) as error:
            return failed(f"the model on disk cannot be read: {error}", code="file_unreadable")
        if difference is not None:
            return failed(difference, code="file_changed")
        return passed(served.identity.sha256[:12])


def repository_check(directory: Path) -> Observation:
    """Warns while the directory of other models is missing. The model in use is not affected."""
    if directory.is_dir():
        return passed()
    return warned(
        f"no such directory: {directory} (CCMUSIC_MODEL_REPOSITORY); no other model can be loaded",
        code="directory_missing",
    )
