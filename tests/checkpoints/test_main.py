"""The process that prepares a model: its input, its output, and its exit with its parent."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

from ccmusic.checkpoints import __main__ as program
from ccmusic.models.store import EMBEDDED_DIRECTORY
from support.checkpoints import write_checkpoint, write_recordings
from support.waiting import PATIENCE_SECONDS, wait_until


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ccmusic.checkpoints"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def send_request(process: subprocess.Popen[str], model: str, cache, audio=None) -> None:
    request = {"model": model, "model_cache": str(cache), "import_audio": audio and str(audio), "threads": 1}
    request |= {"hub_endpoint": None, "hub_token_to_mirror": False, "hub_offline": True}
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()


def output(model: str, cache, audio=None) -> list[dict]:
    with start() as process:
        send_request(process, model, cache, audio)
        lines = [json.loads(line) for line in process.stdout]  # standard input stays open until the process exits
    assert process.returncode == 0
    return [line for line in lines if "alive" not in line]


def test_the_output_is_the_stages_and_then_the_directory(tmp_path):
    audio = write_recordings(tmp_path / "audio", 1)
    *stages, last = output(str(write_checkpoint(tmp_path)), tmp_path / "cache", audio)
    assert stages[0] == {"stage": "hashing the checkpoint"}
    assert {"stage": "building vgg19_bn"} in stages
    assert last["directory"].startswith(str(tmp_path / "cache" / "imported"))
    assert last["caveat"] is None


def test_the_embedded_model_has_a_caveat(tmp_path):
    last = output("hf://owner/name", tmp_path)[-1]
    assert last["directory"] == str(EMBEDDED_DIRECTORY)
    assert "the embedded model serves" in last["caveat"]


def test_an_error_is_sent_as_its_class_and_text(tmp_path):
    (tmp_path / "vgg19_bn_cqt").mkdir()
    (tmp_path / "vgg19_bn_cqt" / "save.pt").write_bytes(b"no checkpoint")
    last = output(str(tmp_path / "vgg19_bn_cqt" / "save.pt"), tmp_path)[-1]
    assert last["error"] == "ModelRefused"
    assert "save.pt" in last["message"]


def test_it_exits_when_its_standard_input_closes(tmp_path):
    process = start()
    with process.stdout:
        send_request(process, str(write_checkpoint(tmp_path)), tmp_path / "cache")
        while "stage" not in json.loads(process.stdout.readline()):
            pass
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 1
    assert not list((tmp_path / "cache" / "imported").glob("*/card.json"))


def test_it_shows_every_second_that_it_runs_and_not_after_the_last_line(monkeypatch, capsys):
    monkeypatch.setattr(program, "ALIVE_SECONDS", 0.0)
    monkeypatch.setattr(program, "_finished", threading.Event())
    thread = threading.Thread(target=program._say_alive, daemon=True)
    thread.start()
    seen = []

    def is_alive() -> bool:
        seen.append(capsys.readouterr().out)
        return '{"alive": 1}' in "".join(seen)

    wait_until(is_alive, "it shows that it runs")
    program._finish(caveat=None)
    thread.join(30)
    assert "".join([*seen, capsys.readouterr().out]).splitlines()[-1] == '{"caveat": null}'
