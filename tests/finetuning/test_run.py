"""The whole of ``ccmusic train --tune head``, from folders to a model that is loaded and asked."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ccmusic.cli import main
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.evaluation.labelled_data import read_labelled
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.card import read_card
from ccmusic.models.store import ModelLocation
from ccmusic.parallel import ParallelMap

Train = Callable[..., int]


@pytest.fixture
def train(tones: Path, start_directory: Path, tmp_path: Path, kept: Path) -> Train:
    """``ccmusic train`` into ``tmp_path / OUT``, whose work directory has the spectrograms already."""

    def run(*arguments: str, out: str = "mine", data: Path = tones) -> int:
        work = tmp_path / f"{out}.work"
        if not work.exists():
            shutil.copytree(kept, work / "spectrograms")
        words = ["train", "--data", str(data), "--from", str(start_directory), "--out", str(tmp_path / out)]
        return main([*words, "--jobs", "1", "--quiet", *arguments])

    return run


@pytest.fixture(scope="session")
def kept(training_set: object) -> Path:
    """The spectrograms of `training_set`."""
    directory: Path = training_set.spectrograms[0].file.parent  # type: ignore[attr-defined]
    return directory


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings are read here: that they are read elsewhere has tests of its own, and processes take long to start."""

    def run(parallel: ParallelMap[object, object], items: Sequence[object]) -> Iterator[tuple[int, object]]:
        yield from ((index, parallel.function(item)) for index, item in enumerate(items))

    monkeypatch.setattr(ParallelMap, "run", run)


def test_from_folders_to_answers(train: Train, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train() == 0
    out, err = capsys.readouterr()
    assert "On 6 recordings of artists that are not in the training set" in out
    assert f"CCMUSIC_MODEL={tmp_path / 'mine'} ccmusic serve" in out
    assert "few recordings are held out of" in err

    card = read_card(tmp_path / "mine" / "card.json")
    assert (card.name, card.taxonomy, card.labels) == ("mine", "own", ("high", "low", "middle"))
    assert card.metrics["recordings"] == {"high": 8, "low": 8, "middle": 8}
    assert card.metrics["recordings_held_out"] == {"high": 2, "low": 2, "middle": 2}
    assert card.training.label_source == "yours"
    assert "24 recordings of 12 artists" in card.training.data
    assert str(tones) not in card.model_dump_json()  # it goes where the recordings do not

    pipeline = Pipeline.load(ModelLocation("mine", tmp_path / "mine"))
    held = read_labelled(tmp_path / "mine.work" / "held-out.csv")
    answers = [pipeline.classify(recording.path) for recording in held.recordings]
    right = [a.predictions(top_k=1)[0].genre == r.label for a, r in zip(answers, held.recordings, strict=True)]
    assert np.mean(right) == card.metrics["held_out"]["top1"] == 1.0


@pytest.mark.parametrize("rules_stay", [False, True])
def test_uncertain_answers_in_the_card_agree_with_the_service(
    rules_stay: bool, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Single notes are odd to the start model; to one whose labels are notes they are not."""
    if rules_stay:
        monkeypatch.setattr(
            "ccmusic.finetuning.training_set.limits_for_labels", lambda found, reference, labels, limits: (limits, ())
        )
    assert train() == 0
    pipeline = Pipeline.load(ModelLocation("mine", tmp_path / "mine"))
    held = read_labelled(tmp_path / "mine.work" / "held-out.csv")
    answers = [pipeline.classify(recording.path) for recording in held.recordings]
    assert ("tone" in {a.odd for a in answers}) == rules_stay
    sure = ["uncertain" not in a.flags for a in answers]
    assert pipeline.card.metrics["held_out"]["coverage"] == pytest.approx(np.mean(sure), abs=1e-4)


def test_evaluate_measures_what_the_card_states(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--epochs", "2") == 0  # not at its best, so that there is something to measure
    held_out, report = tmp_path / "mine.work" / "held-out.csv", tmp_path / "report"
    words = ["evaluate", "--data", str(held_out), "--model", str(tmp_path / "mine"), "--out", str(report)]
    assert main([*words, "--lengths", "none", "--jobs", "1", "--quiet"]) == 0
    (found,) = json.loads((report / "report.json").read_text(encoding="utf-8"))["models"]
    promised = read_card(tmp_path / "mine" / "card.json").metrics["held_out"]
    for name in ("top1", "macro_f1"):
        assert found[name] == promised[name]
    assert found["log_loss"] == pytest.approx(promised["log_loss"], abs=0.05)


@pytest.mark.usefixtures("_in_this_process")
def test_equal_runs_give_equal_bytes(train: Train, tmp_path: Path) -> None:
    for out in ("first", "second"):
        assert train("--epochs", "3", out=out) == 0
    assert (tmp_path / "first" / "model.onnx").read_bytes() == (tmp_path / "second" / "model.onnx").read_bytes()


@pytest.mark.usefixtures("_in_this_process")
def test_a_resumed_run_equals_an_uninterrupted_one(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ccmusic.finetuning import head, run

    assert train("--epochs", "6", out="at once") == 0
    epochs: list[int] = []

    def interrupted(*arguments: object) -> object:
        *most, _ = arguments

        def stop(stopping: object) -> None:
            epochs.append(stopping.epochs)  # type: ignore[attr-defined]
            if epochs == [1, 2, 3]:
                raise KeyboardInterrupt

        return head.fit_head(*most, stop)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "fit_head", interrupted)
    assert train("--epochs", "6") == 130
    assert "with --resume to continue" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()
    assert train("--epochs", "6", "--resume") == 0
    assert epochs == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "mine" / "model.onnx").read_bytes() == (tmp_path / "at once" / "model.onnx").read_bytes()


@pytest.mark.usefixtures("_in_this_process")
def test_a_finished_run_can_be_extended(train: Train, tmp_path: Path) -> None:
    def epochs() -> int:
        return int(read_card(tmp_path / "mine" / "card.json").metrics["passes"]["head"]["all"])

    assert train("--epochs", "2") == 0
    assert train("--epochs", "4", "--resume") == 0
    assert epochs() == 4
    # without --resume it starts over
    assert train("--epochs", "1") == 0
    assert epochs() == 1


@pytest.mark.usefixtures("_in_this_process")
def test_a_different_run_cannot_be_resumed(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--resume") == 2
    assert "--resume finds no interrupted run" in capsys.readouterr().err
    assert train("--epochs", "1") == 0
    assert train("--resume", "--seed", "3") == 2
    assert "--resume needs the recordings, the base model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--holdout", "1"], "--holdout must be between 0 and 1"),
        (["--epochs", "0"], "--epochs must be 1 or more"),
        (["--patience", "0"], "--patience must be 1 or more"),
        (["--seed", "-1"], "--seed must be 0 or more"),
        (["--name", "民谣"], "--name must have Latin letters or digits"),
    ],
)
def test_bad_arguments(train: Train, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str) -> None:
    assert train(*arguments) == 2
    assert complaint in capsys.readouterr().err


def test_other_files_are_not_overwritten(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary", encoding="utf-8")
    assert train() == 2
    assert "holds other things than a model" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert train(out="file") == 2
    assert "is not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(("tune", "missing", "extra"), [("head", "onnx", "train-tools"), ("all", "torch", "train")])
def test_missing_packages_are_reported_before_the_work(
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tune: str,
    missing: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert train("--tune", tune) == ExitCode.PACKAGE_MISSING
    message = capsys.readouterr().err
    assert message.startswith(f"ccmusic: --tune {tune} needs the package {missing}, which cannot be imported (")
    assert message.endswith(f"): install the extra with pip install 'ccmusic[{extra}]'\n")
