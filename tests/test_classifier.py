"""The public Python API."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ccmusic
from ccmusic import AudioError, Classifier, ModelError
from ccmusic.classifier import open_pipeline
from ccmusic.errors import InvalidParameter, InvalidSettings, ModelFileNotFound
from ccmusic.genres import LABELS, WORLD
from ccmusic.settings import read_settings
from support.bands_model import write_world_model
from support.recordings import bin_frequency, tone, wav

ROOT = Path(__file__).parents[1]
SONG = wav(tone(bin_frequency(32), 6.0))


@pytest.fixture(scope="module")
def classifier(model_directory):
    return Classifier(model_directory)


def test_the_public_names_are_exactly_these():
    assert ccmusic.__all__ == ["AudioError", "CcmusicError", "Classifier", "ModelError", "TrackResult", "__version__"]
    assert all(getattr(ccmusic, name) is not None for name in ccmusic.__all__)
    assert set(ccmusic.__all__) <= set(dir(ccmusic))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        ccmusic.Nothing  # noqa: B018


def test_importing_the_package_imports_no_library():
    code = "import sys, ccmusic; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"numpy", "onnxruntime", "pydantic", "soundfile", "av"}.isdisjoint(done.stdout.split())


def test_bytes_and_path_get_the_same_answer(classifier, tmp_path):
    path = tmp_path / "song.wav"
    path.write_bytes(SONG)
    results = [classifier.classify(source) for source in (SONG, path, str(path))]
    assert results[0].as_json()["predictions"][0]["genre"] == LABELS[6]
    assert all(np.array_equal(result.leaves, results[0].leaves) for result in results)


def test_the_answer_is_that_of_the_pipeline(classifier, model_directory):
    pipeline = open_pipeline(read_settings(model=str(model_directory)))
    assert classifier.model == pipeline.identity
    assert classifier.taxonomies == pipeline.card.taxonomies
    assert np.array_equal(classifier.classify(SONG).leaves, pipeline.classify(SONG).leaves)


def test_windows_and_explanations(classifier):
    assert len(classifier.classify(SONG, windows=1).windows) == 1
    assert len(classifier.classify(SONG, explain=True).explanations) == 1
    with pytest.raises(InvalidParameter, match="windows"):
        classifier.classify(SONG, windows="half")


def test_the_explanation_speaks_of_the_requested_taxonomy(tmp_path):
    classifier = Classifier(write_world_model(tmp_path))
    (explanation,) = classifier.classify(SONG, explain=True, taxonomy="world").explanations
    assert explanation.genre in WORLD.genres()
    with pytest.raises(InvalidParameter, match="taxonomy"):
        classifier.classify(SONG, explain=True, taxonomy="own")


def test_the_limit_of_uploads_does_not_hold(model_directory, monkeypatch):
    monkeypatch.setenv("CCMUSIC_MAX_UPLOAD_BYTES", "1000")
    assert Classifier(model_directory).classify(SONG).duration_seconds == 6.0


def test_what_cannot_be_used_is_a_typed_error(classifier, tmp_path):
    with pytest.raises(AudioError):
        classifier.classify(b"not a recording")
    with pytest.raises(InvalidParameter):
        classifier.classify(tmp_path / "absent.mp3")
    with pytest.raises(ModelFileNotFound):
        Classifier(tmp_path / "absent")
    assert issubclass(ModelFileNotFound, ModelError)
    with pytest.raises(InvalidSettings, match="THREADS_PER_WORKER"):
        Classifier(threads=0)


def test_a_caveat_of_the_model_is_reported(model_directory, monkeypatch):
    caveats = []
    monkeypatch.setattr("ccmusic.inference.pipeline.Pipeline.load", lambda *_: _WithCaveat())
    open_pipeline(read_settings(model=str(model_directory)), on_caveat=caveats.append)
    assert caveats == ["float32 runs"]


class _WithCaveat:
    caveat = "float32 runs"


def test_the_example_of_the_docstring_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(Classifier):
        runner.run(example)
    assert (runner.summarize(verbose=False).failed, runner.tries) == (0, 4)


def test_the_examples_of_the_page_run(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    printed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\w+ .+ 0\.\d+", printed[0])
    assert printed[1].startswith("0 s ")
    assert printed[-1].endswith(".")
