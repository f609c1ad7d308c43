"""``ccmusic classify``."""

import csv
import io
import json
import os
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ccmusic import cli
from ccmusic.commands import classify
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.errors import EmptyAudio
from ccmusic.genres import LABELS, WORLD
from ccmusic.parallel import DEADLY
from support import dying_pipeline
from support.bands_model import NOTHING_IS_ODD, write_model, write_own_model, write_world_model
from support.recordings import bin_frequency, tone, wav

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def recordings(tmp_path):
    song = tmp_path / "song.wav"
    song.write_bytes(wav(tone(bin_frequency(32), 3.0)))
    broken = tmp_path / "broken.flac"
    broken.write_bytes(b"fLaC" + bytes(500))
    return song, broken, tmp_path / "absent.mp3"


@pytest.fixture(autouse=True)
def model(model_directory, monkeypatch):
    monkeypatch.setenv("CCMUSIC_MODEL", str(model_directory))


def test_json_has_one_answer_per_line_and_continues_after_a_bad_file(recordings, capsys):
    assert cli.main(["classify", "--json", *map(str, recordings)]) == ExitCode.SOME_FAILED
    captured = capsys.readouterr()
    song, broken, absent = map(json.loads, captured.out.splitlines())
    assert song["predictions"][0]["genre"] == LABELS[6]
    assert song["file"] == str(recordings[0])
    assert broken["error"]["type"] == "undecodable-audio"
    assert absent["error"]["type"] == "invalid-parameter"
    assert "2 of 3 recordings could not be classified" in captured.err


def test_csv_has_one_row_per_file(recordings, capsys):
    cli.main(["classify", "--csv", "--top-k", "2", *map(str, recordings[:2])])
    song, broken = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert song["genre_1"] == LABELS[6]
    assert float(song["probability_1"]) > float(song["probability_2"]) > 0
    assert "genre_3" not in song
    assert broken["error"].startswith("undecodable-audio: ")


def test_table_names_the_likeliest_first(recordings, capsys):
    assert cli.main(["classify", str(recordings[0])]) == ExitCode.OK
    line = capsys.readouterr().out
    assert line.startswith("song.wav")
    assert line.index("Teen pop") < line.index("%, ")


def test_table_shows_what_non_music_is(recordings, tmp_path, capsys):
    silence = tmp_path / "silence.wav"
    silence.write_bytes(wav(tone(440, 3.0, 0.0)))
    assert cli.main(["classify", str(recordings[0]), str(silence)]) == ExitCode.OK
    song, silent = capsys.readouterr().out.splitlines()
    assert song.endswith("[uncertain, tone]")
    assert silent.endswith("[silence, uncertain]")


def test_table_with_one_genre_still_shows_the_probability_of_classical_music(recordings, capsys):
    assert cli.main(["classify", "--top-k", "1", str(recordings[0])]) == ExitCode.OK
    line = capsys.readouterr().out
    assert "classical " in line
    assert ", " not in line.partition("[")[0]


def test_level_and_windows(recordings, capsys):
    cli.main(["classify", "--json", "--level", "2", "--windows", "1", str(recordings[0])])
    answer = json.loads(capsys.readouterr().out)
    assert [p["genre"] for p in answer["predictions"]] == ["Non_classic", "Classic"]
    assert len(answer["windows"]) == 1


@pytest.fixture
def world_model(tmp_path, monkeypatch):
    monkeypatch.setenv("CCMUSIC_MODEL", str(write_world_model(tmp_path / "world")))


def test_another_taxonomy(recordings, world_model, capsys):
    song = str(recordings[0])  # in band 6
    cli.main(["classify", "--json", "--taxonomy", "world", song])
    assert json.loads(capsys.readouterr().out)["predictions"][0]["genre"] == WORLD.labels[15 - 6]
    cli.main(["classify", "--csv", "--taxonomy", "world", "--top-k", "1", song])
    [row] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["genre_1"], row["classic_probability"], row["error"]) == (WORLD.labels[15 - 6], "", "")
    cli.main(["classify", "--taxonomy", "world", song])
    line = capsys.readouterr().out
    assert "Rock" in line
    assert "classical" not in line
    cli.main(["classify", "--json", song])
    assert json.loads(capsys.readouterr().out)["predictions"][0]["genre"] == LABELS[6]


def test_table_shows_that_only_a_group_is_sure(recordings, tmp_path, capsys):
    model = str(write_model(tmp_path / "sure", sure={"16": 1.0, "9": 1.0, "2": 0.1}, odd=NOTHING_IS_ODD))
    cli.main(["classify", "--model", model, str(recordings[0])])
    assert "  [sure only of Non-classical]" in capsys.readouterr().out
    model = str(write_model(tmp_path / "surer", sure={"16": 0.1}, odd=NOTHING_IS_ODD))
    cli.main(["classify", "--model", model, str(recordings[0])])
    assert "sure only" not in capsys.readouterr().out


def test_a_model_with_its_own_labels(recordings, tmp_path, capsys):
    model = str(write_own_model(tmp_path / "own", ("low", "high")))
    assert cli.main(["classify", "--model", model, str(recordings[0])]) == ExitCode.OK
    assert re.search(r"3\.0 s  (low|high) \d+%, (low|high) \d+%", capsys.readouterr().out)


def test_a_taxonomy_or_level_that_the_model_lacks_is_a_usage_error(recordings, capsys):
    song = str(recordings[0])
    assert cli.main(["classify", "--taxonomy", "world", song]) == ExitCode.USAGE
    assert "taxonomy must be ccmusic, not 'world'" in capsys.readouterr().err
    assert cli.main(["classify", "--level", "4", song]) == ExitCode.USAGE
    assert "level must be one of 16, 9, 2, not 4" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--top-k", "0"], ["--top-k", "17"], ["--windows", "half"], ["--jobs", "0"]])
def test_bad_arguments_are_usage_errors(recordings, capsys, arguments):
    assert cli.main(["classify", *arguments, str(recordings[0])]) == ExitCode.USAGE
    assert arguments[1] in capsys.readouterr().err


# names, pipes and unexpected errors


def test_odd_names_lose_nothing_of_the_others(recordings, tmp_path, capsys):
    song = recordings[0]
    odd = tmp_path / os.fsdecode(b"Caf\xe9\n.wav")
    odd.write_bytes(song.read_bytes())
    names = [str(odd), "x" * 300, str(song / "inside"), str(tmp_path / "missing"), str(song)]
    assert cli.main(["classify", "--json", "--jobs", "2", *names]) == ExitCode.SOME_FAILED
    answers = _answers(capsys.readouterr().out)
    assert [answer["file"] for answer in answers] == names
    assert ["predictions" in answer for answer in answers] == [True, False, False, False, True]
    assert [answer["error"]["detail"].split(";")[0] for answer in answers[1:4]] == [
        "file cannot be opened: File name too long",
        "file cannot be opened: Not a directory",
        "file does not exist",
    ]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_standard_input_is_a_recording(recordings, monkeypatch, capsys, jobs):
    monkeypatch.setattr(
        "sys.stdin", SimpleNamespace(buffer=io.BytesIO(recordings[0].read_bytes()), isatty=lambda: False)
    )
    assert cli.main(["classify", "--json", "--jobs", jobs, "-", str(recordings[0])]) == ExitCode.OK
    sent, file = _answers(capsys.readouterr().out)
    assert (sent.pop("file"), file.pop("file")) == ("-", str(recordings[0]))
    assert sent == file


def test_a_local_file_may_be_larger_than_an_upload_and_a_pipe_may_not(recordings, monkeypatch, capsys):
    monkeypatch.setenv("CCMUSIC_MAX_UPLOAD_BYTES", "1000")
    monkeypatch.setattr(
        "sys.stdin", SimpleNamespace(buffer=io.BytesIO(recordings[0].read_bytes()), isatty=lambda: False)
    )
    for jobs in ("1", "2"):
        cli.main(["classify", "--json", "--jobs", jobs, str(recordings[0]), str(recordings[0])])
        assert all("predictions" in answer for answer in _answers(capsys.readouterr().out))
    assert cli.main(["classify", "--json", "-"]) == ExitCode.SOME_FAILED
    (pipe,) = _answers(capsys.readouterr().out)
    assert pipe["error"]["type"] == "upload-too-large"


def test_an_unexpected_error_is_one_row_without_a_traceback(recordings, monkeypatch, capsys):
    kinds = iter([MemoryError(), ValueError("a bug")])
    monkeypatch.setattr("ccmusic.inference.pipeline.Pipeline.classify", lambda *_: raise_(next(kinds)))
    assert cli.main(["classify", "--json", "--jobs", "1", *[str(recordings[0])] * 2]) == ExitCode.SOME_FAILED
    captured = capsys.readouterr()
    memory, bug = _answers(captured.out)
    assert "--windows first30" in memory["error"]["detail"]
    assert bug["error"] == {"type": "internal", "detail": "unexpected ValueError: a bug"}
    assert "Traceback" not in captured.err


def raise_(error):
    raise error


def test_what_decoders_print_is_discarded(recordings, monkeypatch):
    quiet = []

    def record(*_, **options):
        quiet.append(options["quiet"])
        raise EmptyAudio("enough")

    monkeypatch.setattr("ccmusic.inference.pipeline.decode", record)
    cli.main(["classify", "--jobs", "1", str(recordings[0])])
    cli.main(["explain", str(recordings[0])])
    assert quiet == [True, True]


# several processes


@pytest.fixture
def _importable(monkeypatch):
    """Other processes find the modules of the tests."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def _answers(out):
    answers = [json.loads(line) for line in out.splitlines()]
    for answer in answers:
        answer.pop("timings", None)  # the only field that differs from run to run
    return answers


def test_several_processes_give_the_same_answers_in_the_same_order(monkeypatch, capsys):
    monkeypatch.setenv("CCMUSIC_MODEL", "embedded")
    files = sorted(map(str, EXAMPLES.glob("*.ogg")), reverse=True)[:4]
    assert cli.main(["classify", "--json", "--jobs", "1", *files]) == ExitCode.OK
    alone = _answers(capsys.readouterr().out)
    assert cli.main(["classify", "--json", "--jobs", "2", *files]) == ExitCode.OK
    assert _answers(capsys.readouterr().out) == alone
    assert [answer["file"] for answer in alone] == files


def test_a_bad_file_fails_alone_in_several_processes(recordings, capsys):
    assert cli.main(["classify", "--json", "--jobs", "2", *map(str, recordings)]) == ExitCode.SOME_FAILED
    song, broken, absent = _answers(capsys.readouterr().out)
    assert song["predictions"][0]["genre"] == LABELS[6]
    assert (broken["error"]["type"], absent["error"]["type"]) == ("undecodable-audio", "invalid-parameter")


def test_a_file_that_ends_its_process_fails_alone(recordings, _importable, monkeypatch, capsys):
    monkeypatch.setattr(classify, "_classify", dying_pipeline.classify)
    song, deadly = recordings[0], recordings[0].with_name(f"deadly-{int(signal.SIGSEGV)}.wav")
    deadly.write_bytes(song.read_bytes())
    assert cli.main(["classify", "--json", "--jobs", "2", *map(str, (song, deadly, song))]) == ExitCode.SOME_FAILED
    first, second, third = _answers(capsys.readouterr().out)
    assert second["error"] == {"type": "undecodable-audio", "detail": DEADLY}
    assert first == third
    assert first["predictions"][0]["genre"] == LABELS[6]


def test_one_file_is_classified_in_this_process(recordings, monkeypatch, capsys):
    monkeypatch.setattr("ccmusic.parallel.ParallelMap.run", lambda *_: pytest.fail("another process was started"))
    assert cli.main(["classify", "--jobs", "8", str(recordings[0])]) == ExitCode.OK
    assert "Teen pop" in capsys.readouterr().out


def test_a_model_that_cannot_be_used_is_one_error(recordings, capsys):
    files = [str(recordings[0])] * 3
    assert cli.main(["classify", "--model", "./nowhere", "--jobs", "2", *files]) == ExitCode.MODEL
    assert capsys.readouterr().err == "ccmusic: model: Model file not found: ./nowhere\n"


# folders


def test_a_folder_is_classified_with_its_subfolders(recordings, capsys):
    folder = recordings[0].parent / "album"
    (folder / "disc 2").mkdir(parents=True)
    (folder / "empty").mkdir()
    for name in ("b.WAV", "a.wav", "disc 2/c.wav"):
        (folder / name).write_bytes(recordings[0].read_bytes())
    (folder / "cover.jpg").touch()
    assert cli.main(["classify", "--json", "--jobs", "1", str(folder), str(recordings[0])]) == ExitCode.OK
    files = [Path(answer["file"]).name for answer in _answers(capsys.readouterr().out)]
    assert files == ["a.wav", "b.WAV", "c.wav", "song.wav"]


def test_a_folder_without_recordings_is_an_error(recordings, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert cli.main(["classify", "--json", str(tmp_path / "empty"), str(recordings[0])]) == ExitCode.SOME_FAILED
    printed = capsys.readouterr()
    empty, song = _answers(printed.out)
    assert empty["error"]["detail"].startswith("folder has no recordings")
    assert "predictions" in song
    assert "1 of 2 recordings could not be classified" in printed.err
