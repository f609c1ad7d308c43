import json

import pytest

from ccmusic import cli
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.genres import LABELS
from support.recordings import bin_frequency, tone, wav


@pytest.fixture(autouse=True)
def model(model_directory, monkeypatch):
    monkeypatch.setenv("CCMUSIC_MODEL", str(model_directory))


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    path.write_bytes(wav(tone(bin_frequency(12), 6.0)))
    return path


def test_it_says_why_and_what_would_be_without(song, capsys):
    assert cli.main(["explain", str(song)]) == ExitCode.OK
    words, window, *parts = capsys.readouterr().out.splitlines()
    assert words.startswith("Solo: mostly the bass")
    assert window.startswith("window 2 of 3, 2.0 to 4.0 s: ")
    assert len(parts) == 3
    assert all(part.startswith("  without C2 to B2, ") for part in parts)


def test_another_window_and_genre(song, capsys):
    assert cli.main(["explain", str(song), "--window", "2", "--genre", LABELS[8], "--windows", "3"]) == ExitCode.OK
    words, window, *_ = capsys.readouterr().out.splitlines()
    assert words.startswith("Dance pop: ")
    assert window.startswith("window 2 of 3, 2.0 to 4.0 s: ")


def test_it_is_written_as_a_picture_or_as_numbers(song, tmp_path):
    picture, numbers = tmp_path / "why.png", tmp_path / "why.json"
    assert cli.main(["explain", str(song), "--out", str(picture)]) == ExitCode.OK
    assert cli.main(["explain", str(song), "--out", str(numbers)]) == ExitCode.OK
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert json.loads(numbers.read_text(encoding="utf-8"))["genre"] == LABELS[2]


def test_what_cannot_be_done_is_refused_with_the_reason(song, tmp_path, capsys):
    assert cli.main(["explain", str(song), "--window", "9"]) == ExitCode.USAGE
    assert cli.main(["explain", str(song), "--out", "why.txt"]) == ExitCode.USAGE
    broken = tmp_path / "broken.flac"
    broken.write_bytes(b"fLaC" + bytes(500))
    assert cli.main(["explain", str(broken)]) == ExitCode.SOME_FAILED
    window, out, file = capsys.readouterr().err.splitlines()
    assert "window must be 1 to 3, not 9" in window
    assert "--out must end in .png or .json" in out
    assert "broken.flac" in file
