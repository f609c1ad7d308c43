from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ccmusic.batch import fingerprint
from ccmusic.batch.fingerprint import fingerprint_of
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.store import locate
from ccmusic.settings import Settings
from support.bands_model import write_model

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(model_directory: Path, make_settings: Callable[..., Settings]) -> Make:
    def fingerprint(model: Path = model_directory, windows: str = "whole", level: int = 16, **settings: object) -> Any:
        pipeline = Pipeline.load(locate(str(model)))
        return fingerprint_of(pipeline, make_settings(**settings), windows, "ccmusic", level)

    return fingerprint


def test_it_is_the_same_for_the_same_answers(make: Make) -> None:
    assert json.loads(json.dumps(make())) == make(workers=3, port=1, max_upload_bytes=2**20)


@pytest.mark.parametrize("change", [{"windows": "first30"}, {"level": 9}, {"max_seconds": 60.0}, {"max_windows": 2}])
def test_what_changes_answers_changes_it(change: dict[str, object], make: Make) -> None:
    assert make(**change) != make()


def test_another_card_or_version_changes_it(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = make()
    assert make(write_model(tmp_path / "other", uncertain_below=0.4)) != before
    assert make(write_model(tmp_path / "same", description="other words")) == before
    monkeypatch.setattr(fingerprint, "__version__", "99")
    assert make() != before
