import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from ccmusic import cli
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.explain import explanation_lines
from ccmusic.genres import LABELS, WORLD
from support.bands_model import write_world_model
from support.recordings import bin_frequency, tone, wav


@pytest.fixture(autouse=True)
def model(model_directory, monkeypatch):
    monkeypatch.setenv("CCMUSIC_MODEL", str(model_directory))


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    path.write_bytes(wav(tone(bin_frequency(12), 6.0)))
    return path


def test_it_prints_the_reason_and_the_strongest_parts(song, capsys):
    assert cli.main(["explain", str(song)]) == ExitCode.OK
    sentence, window, *parts = capsys.readouterr().out.splitlines()
    assert sentence.startswith("Solo: mostly the bass")
    assert window.startswith("window 2 of 3, 2.0 to 4.0 s: ")
    assert len(parts) == 3
    assert all(part.startswith("  without C2 to B2, ") for part in parts)


def test_another_window_and_genre(song, capsys):
    assert cli.main(["explain", str(song), "--window", "2", "--genre", LABELS[8], "--windows", "3"]) == ExitCode.OK
    sentence, window, *_ = capsys.readouterr().out.splitlines()
    assert sentence.startswith("Dance pop: ")
    assert window.startswith("window 2 of 3, 2.0 to 4.0 s: ")


def test_the_reason_speaks_of_the_requested_taxonomy_and_level(song, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CCMUSIC_MODEL", str(write_world_model(tmp_path / "world")))
    assert cli.main(["explain", str(song), "--taxonomy", "world"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith(f"{WORLD.genres()[15 - 2].label_en}: ")
    assert cli.main(["explain", str(song), "--level", "2"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("Classical: ")
    assert cli.main(["explain", str(song), "--taxonomy", "world", "--genre", "Solo"]) == ExitCode.USAGE
    assert "genre must be one of Blues" in capsys.readouterr().err


def test_a_file_a_folder_and_standard_input_each_have_their_own_words(song, tmp_path, monkeypatch, capsys):
    for name in (str(tmp_path / "missing\n.mp3"), str(tmp_path)):
        assert cli.main(["explain", name]) == ExitCode.SOME_FAILED
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(song.read_bytes()), isatty=lambda: False))
    assert cli.main(["explain", "-"]) == ExitCode.OK
    captured = capsys.readouterr()
    missing, folder = captured.err.splitlines()
    assert missing.endswith(r"missing\n.mp3: file does not exist; check its name and its folder")
    assert folder.endswith(": file is a folder; give the path of a recording")
    assert captured.out.startswith("Solo: ")


def test_it_writes_a_picture_or_all_numbers(song, tmp_path):
    picture, numbers = tmp_path / "why.png", tmp_path / "why.json"
    assert cli.main(["explain", str(song), "--out", str(picture)]) == ExitCode.OK
    assert cli.main(["explain", str(song), "--out", str(numbers)]) == ExitCode.OK
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert json.loads(numbers.read_text(encoding="utf-8"))["genre"] == LABELS[2]


def test_a_request_that_is_not_allowed_has_a_reason(song, tmp_path, capsys):
    assert cli.main(["explain", str(song), "--window", "9"]) == ExitCode.USAGE
    assert cli.main(["explain", str(song), "--out", "why.txt"]) == ExitCode.USAGE
    broken = tmp_path / "broken.flac"
    broken.write_bytes(b"fLaC" + bytes(500))
    assert cli.main(["explain", str(broken)]) == ExitCode.SOME_FAILED
    window, out, file = capsys.readouterr().err.splitlines()
    assert "window must be 1 to 3, not 9" in window
    assert "--out must end in .png or .json" in out
    assert "broken.flac" in file


def test_the_strongest_parts_come_first():
    explanation = SimpleNamespace(
        text=lambda: "Solo: mostly the bass",
        window=1,
        start_seconds=10.0,
        end_seconds=20.0,
        probability=0.9,
        edges_seconds=np.array([10.0, 15.0, 20.0]),
        without=np.array([[0.8, 0.4], [0.3, 0.9]]),
        evidence=np.array([[0.1, 0.5], [0.6, 0.0]]),
    )
    assert explanation_lines(explanation, 3) == [
        "Solo: mostly the bass",
        "window 2 of 3, 10.0 to 20.0 s: 90.0%",
        "  without C2 to B2, 10.0 to 15.0 s: 30.0%",
        "  without C1 to B1, 15.0 to 20.0 s: 40.0%",
        "  without C1 to B1, 10.0 to 15.0 s: 80.0%",
    ]
