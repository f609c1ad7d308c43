"""The command line as a whole, and its short commands."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ccmusic import cli
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.errors import InvalidParameter, InvalidSettings, ModelFileNotFound, PackageMissing
from support.bands_model import write_model
from support.recordings import bin_frequency, tone, wav


@pytest.fixture(autouse=True)
def model(model_directory, monkeypatch):
    monkeypatch.setenv("CCMUSIC_MODEL", str(model_directory))


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    path.write_bytes(wav(tone(bin_frequency(32), 3.0)))
    return path


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            InvalidSettings("CCMUSIC_PORT: too large"),
            ExitCode.SETTINGS,
            "ccmusic: configuration: CCMUSIC_PORT: too large",
        ),
        (InvalidParameter("--top-k", "must be 1"), ExitCode.USAGE, "ccmusic: --top-k must be 1"),
        (ModelFileNotFound("./m"), ExitCode.MODEL, "ccmusic: model: Model file not found: ./m"),
        (PackageMissing("tags need a package"), ExitCode.PACKAGE_MISSING, "ccmusic: tags need a package"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, ""),
    ],
)
def test_an_error_has_an_exit_code_and_one_line(monkeypatch, capsys, error, code, message):
    def fail(_):
        raise error

    monkeypatch.setattr("ccmusic.commands.settings._run", fail)
    assert cli.main(["settings"]) == code
    assert capsys.readouterr().err.strip() == message


def test_help_imports_no_library():
    modules = _modules_after("import ccmusic.cli; ccmusic.cli.build_parser().format_help()")
    assert {"numpy", "pydantic", "onnxruntime", "fastapi", "uvicorn", "tqdm"}.isdisjoint(modules)


def test_a_model_that_does_not_exist(song, capsys):
    assert cli.main(["classify", "--model", "./nowhere", str(song)]) == ExitCode.MODEL
    assert capsys.readouterr().err == "ccmusic: model: Model file not found: ./nowhere\n"


def test_a_damaged_model(tmp_path, song, capsys):
    directory = write_model(tmp_path / "m")
    (directory / "model.onnx").write_bytes(b"other")
    assert cli.main(["classify", "--model", str(directory), str(song)]) == ExitCode.MODEL
    assert "SHA-256" in capsys.readouterr().err


def test_a_bad_setting_has_its_own_exit_code(monkeypatch, capsys):
    monkeypatch.setenv("CCMUSIC_PORT", "99999")
    assert cli.main(["serve"]) == ExitCode.SETTINGS
    assert "CCMUSIC_PORT" in capsys.readouterr().err


def test_a_port_in_use_has_its_own_exit_code(capsys):
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
        arguments = ["--robot-url-file", str(tmp_path / "robot"), "--host", "127.0.0.1", "--port", port]
        assert cli.main(["wecom-bridge", *arguments]) == ExitCode.ADDRESS
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_settings_lists_every_setting(capsys):
    assert cli.main(["settings"]) == ExitCode.OK
    assert "CCMUSIC_MAX_UPLOAD_BYTES=104857600" in capsys.readouterr().out


def test_serving_imports_no_training_or_page_library():
    # in a fresh process: this one has imported what the tests need
    heavy = {"torch", "librosa", "numba", "matplotlib", "ray", "pandas", "scipy", "gradio", "onnx"}
    assert heavy.isdisjoint(_modules_after("import ccmusic.cli, ccmusic.serving.server, ccmusic.inference.pipeline"))


def test_the_front_process_imports_no_codec_and_no_network_runtime():
    assert {"onnxruntime", "av", "soundfile"}.isdisjoint(_modules_after("import ccmusic.cli, ccmusic.serving.server"))


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
