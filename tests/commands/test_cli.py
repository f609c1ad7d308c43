import csv
import io
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ccmusic import cli
from ccmusic.commands.answer_writers import fit
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.genres import LABELS, WORLD
from support.bands_model import NOTHING_IS_ODD, write_model, write_own_model, write_world_model
from support.recordings import bin_frequency, tone, wav


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


def test_json_has_one_answer_a_line_and_goes_on_after_a_bad_file(recordings, capsys):
    assert cli.main(["classify", "--json", *map(str, recordings)]) == ExitCode.SOME_FAILED
    captured = capsys.readouterr()
    song, broken, absent = map(json.loads, captured.out.splitlines())
    assert song["predictions"][0]["genre"] == LABELS[6]
    assert song["file"] == str(recordings[0])
    assert broken["error"]["type"] == "undecodable-audio"
    assert absent["error"]["type"] == "invalid-parameter"
    assert "2 of 3 recordings could not be classified" in captured.err


def test_csv_has_one_row_a_file(recordings, capsys):
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


def test_table_says_what_is_no_music(recordings, tmp_path, capsys):
    silence = tmp_path / "silence.wav"
    silence.write_bytes(wav(tone(440, 3.0, 0.0)))
    assert cli.main(["classify", str(recordings[0]), str(silence)]) == ExitCode.OK
    song, silent = capsys.readouterr().out.splitlines()
    assert song.endswith("[uncertain, tone]")
    assert silent.endswith("[silence, uncertain]")


def test_table_with_one_genre_still_tells_classical_from_not(recordings, capsys):
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


def test_the_table_says_when_only_a_group_is_sure(recordings, tmp_path, capsys):
    model = str(write_model(tmp_path / "sure", sure={"16": 1.0, "9": 1.0, "2": 0.1}, odd=NOTHING_IS_ODD))
    cli.main(["classify", "--model", model, str(recordings[0])])
    assert "  [sure only of Non-classical]" in capsys.readouterr().out
    model = str(write_model(tmp_path / "surer", sure={"16": 0.1}, odd=NOTHING_IS_ODD))
    cli.main(["classify", "--model", model, str(recordings[0])])
    assert "sure only" not in capsys.readouterr().out


def test_labels_of_ones_own(recordings, tmp_path, capsys):
    model = str(write_own_model(tmp_path / "own", ("low", "high")))
    assert cli.main(["classify", "--model", model, str(recordings[0])]) == ExitCode.OK
    assert re.search(r"3\.0 s  (low|high) \d+%, (low|high) \d+%", capsys.readouterr().out)


def test_a_taxonomy_or_level_that_the_model_lacks_is_a_usage_error(recordings, capsys):
    song = str(recordings[0])
    assert cli.main(["classify", "--taxonomy", "world", song]) == ExitCode.USAGE
    assert "taxonomy must be ccmusic, not 'world'" in capsys.readouterr().err
    assert cli.main(["classify", "--level", "4", song]) == ExitCode.USAGE
    assert "level must be one of 16, 9, 2, not 4" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--top-k", "0"], ["--top-k", "17"], ["--windows", "half"]])
def test_impossible_words_are_usage_errors(recordings, capsys, words):
    assert cli.main(["classify", *words, str(recordings[0])]) == ExitCode.USAGE
    assert words[1] in capsys.readouterr().err


def test_a_model_that_is_not_there(recordings, capsys):
    assert cli.main(["classify", "--model", "./nowhere", str(recordings[0])]) == ExitCode.MODEL
    assert capsys.readouterr().err == "ccmusic: model: Model file not found: ./nowhere\n"


def test_a_damaged_model(tmp_path, recordings, capsys):
    directory = write_model(tmp_path / "m")
    (directory / "model.onnx").write_bytes(b"other")
    assert cli.main(["classify", "--model", str(directory), str(recordings[0])]) == ExitCode.MODEL
    assert "SHA-256" in capsys.readouterr().err


def test_a_bad_setting_has_its_own_exit_code(monkeypatch, capsys):
    monkeypatch.setenv("CCMUSIC_PORT", "99999")
    assert cli.main(["serve"]) == ExitCode.SETTINGS
    assert "CCMUSIC_PORT" in capsys.readouterr().err


def test_a_port_in_use_has_its_own_exit_code_and_says_what_to_do(capsys):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert cli.main(["serve", "--host", "127.0.0.1", "--port", str(port)]) == ExitCode.ADDRESS
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_metrics_lists_every_metric(capsys):
    assert cli.main(["metrics"]) == ExitCode.OK
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert capsys.readouterr().out == page.read_text(encoding="utf-8"), "stale: ccmusic metrics > docs/metrics.md"


def test_the_bridge_needs_a_robot(capsys):
    assert cli.main(["wecom-bridge"]) == ExitCode.SETTINGS
    assert "CCMUSIC_BRIDGE_ROBOT_URL_FILE" in capsys.readouterr().err


def test_the_bridge_and_a_port_in_use(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        words = ["--robot-url-file", str(tmp_path / "robot"), "--host", "127.0.0.1", "--port", port]
        assert cli.main(["wecom-bridge", *words]) == ExitCode.ADDRESS
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_settings_lists_every_setting(capsys):
    assert cli.main(["settings"]) == ExitCode.OK
    assert "CCMUSIC_MAX_UPLOAD_BYTES=104857600" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "width", "fitted"), [("ab", 4, "ab  "), ("abcde", 4, "abc…"), ("歌曲", 5, "歌曲 ")])
def test_names_fit_their_column(text, width, fitted):
    assert fit(text, width) == fitted


def test_serving_imports_no_training_or_page_library():
    # in a fresh process: this one has imported what the tests need
    heavy = {"torch", "librosa", "numba", "matplotlib", "ray", "pandas", "scipy", "gradio", "onnx"}
    assert heavy.isdisjoint(_modules_after("import ccmusic.cli, ccmusic.serving.server, ccmusic.inference.pipeline"))


def test_the_front_process_imports_no_codec_and_no_network_runtime():
    assert {"onnxruntime", "av", "soundfile"}.isdisjoint(_modules_after("import ccmusic.cli, ccmusic.serving.server"))


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
