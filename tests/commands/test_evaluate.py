from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import pytest

from ccmusic.cli import main
from ccmusic.commands.evaluate import parse_lengths
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.errors import InvalidParameter


def _evaluate(data: Path, model: Path, *arguments: str) -> int:
    return main(["evaluate", "--data", str(data), "--model", str(model), "--jobs", "1", "--quiet", *arguments])


def test_one_model_on_folders(tones: Path, knowing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _evaluate(tones, knowing, "--lengths", "0.5,2") == 1  # the broken one could not be used
    out = capsys.readouterr().out
    assert re.search(r"top-1 +\| 1\.000", out)
    assert re.search(r"\| low +\| 6 +\| 1\.000 +\| 1\.000 +\| 1\.000", out)
    assert re.search(r"\| 0\.5 +\| 18 +\| 1\.000", out)
    assert re.search(r"\| 2 +\| 9 +\| 1\.000", out)
    assert "| seconds" in out
    assert "broken.wav" in out


def test_two_models_compared_by_group_with_report(
    table: Path, knowing: Path, confused: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    names = ["--path-column", "file", "--label-column", "kind", "--artist-column", "singer"]
    code = _evaluate(
        table, knowing, "--against", str(confused), "--group", "side", "--lengths", "1", "--out", str(out), *names
    )
    assert code == 0
    text = capsys.readouterr().out
    assert "Paired bootstrap over 9 artists. The two differ in top-1 and macro-F1" in text

    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    first, second = found["models"]
    assert (first["top1"], second["top1"]) == (1.0, pytest.approx(1 / 3, abs=1e-4))
    assert second["top1_by_seconds"] == {"1": pytest.approx(1 / 3, abs=1e-4)}
    assert {c["label"]: c["recall"] for c in second["classes"]} == {"low": 0.0, "middle": 1.0, "high": 0.0}
    assert {name: group["recordings"] for name, group in first["by_group"].items()} == {"rest": 12, "low": 6}
    assert {name: group["top1"] for name, group in second["by_group"].items()} == {"rest": 0.5, "low": 0.0}
    assert found["bootstrap_draws"] == "artists"
    top1 = found["differences"]["top1"]
    assert top1["difference"] == pytest.approx(-2 / 3, abs=1e-3)
    assert top1["low"] < top1["difference"] < top1["high"] < 0

    page = (out / "report.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page)
    assert sorted(pictures) == ["confusion-bands.png", "confusion-confused.png", "lengths.png", "reliability.png"]
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    with (out / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    assert (rows[0]["label"], rows[0]["estimated_bands"], rows[0]["estimated_confused"]) == ("low", "low", "high")


def test_two_equal_models_are_numbered(table: Path, knowing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["--path-column", "file", "--label-column", "kind"]
    assert _evaluate(table, knowing, "--against", str(knowing), "--lengths", "none", *names) == 0
    out = capsys.readouterr().out
    assert "bands-1 0.0.1" in out
    assert "over 18 recordings. These recordings show no difference" in out
    assert "| seconds" not in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--group", "decade"], "--group must be a column of the CSV"),
        (["--against", "embedded"], "--against must name a model with the labels of"),
        (["--lengths", "1,soon"], "--lengths must be `none` or seconds"),
        (["--jobs", "0"], "--jobs must be 1 or more"),
    ],
)
def test_bad_arguments(
    tones: Path, knowing: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert main(["evaluate", "--data", str(tones), "--model", str(knowing), "--quiet", *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_labels_that_the_model_does_not_know(tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _evaluate(tones, Path("embedded")) == 2
    assert "does not know: high, low, middle; it knows Symphony" in capsys.readouterr().err


def test_data_without_a_usable_recording(tmp_path: Path, knowing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "low").mkdir()
    (tmp_path / "low" / "broken.wav").write_bytes(b"no recording")
    assert _evaluate(tmp_path, knowing) == 2
    assert "no recording that can be used" in capsys.readouterr().err


def test_missing_matplotlib_is_reported_before_the_work(
    tones: Path, knowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "ccmusic.scoring.figures", raising=False)
    monkeypatch.delattr("ccmusic.scoring.figures", raising=False)
    monkeypatch.setattr("ccmusic.evaluation.model_answers.classify_all", lambda *_, **__: pytest.fail("worked"))
    assert _evaluate(tones, knowing, "--out", str(tmp_path / "out")) == ExitCode.PACKAGE_MISSING
    message = capsys.readouterr().err
    assert message.startswith("ccmusic: figures need the package matplotlib, which cannot be imported (")
    assert message.endswith("pip install 'ccmusic[train-tools]', or omit --out\n")


def test_lengths_are_sorted_and_bounded() -> None:
    assert parse_lengths("10,0.3,10") == (0.3, 10.0)
    assert parse_lengths("none") == ()
    for text in ("", "0", "nan", "1e9"):
        with pytest.raises(InvalidParameter):
            parse_lengths(text)
