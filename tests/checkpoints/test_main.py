"""The process that prepares a model: lines in, lines out, and its end with whoever asked."""

from __future__ import annotations

import json
import subprocess
import sys

from ccmusic.models.store import EMBEDDED_DIRECTORY
from support.checkpoints import write_checkpoint, write_recordings


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ccmusic.checkpoints"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ask(process: subprocess.Popen[str], model: str, cache, audio=None) -> None:
    asked = {"model": model, "model_cache": str(cache), "import_audio": audio and str(audio), "threads": 1}
    asked |= {"hub_endpoint": None, "hub_token_to_mirror": False, "hub_offline": True}
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()


def said(model: str, cache, audio=None) -> list[dict]:
    with start() as process:
        ask(process, model, cache, audio)
        lines = [json.loads(line) for line in process.stdout]  # its input stays open until it has ended by itself
    assert process.returncode == 0
    return lines


def test_stages_and_then_the_directory(tmp_path):
    audio = write_recordings(tmp_path / "audio", 1)
    *stages, last = said(str(write_checkpoint(tmp_path)), tmp_path / "cache", audio)
    assert stages[0] == {"stage": "hashing the checkpoint"}
    assert {"stage": "building vgg19_bn"} in stages
    assert last["directory"].startswith(str(tmp_path / "cache" / "imported"))
    assert last["caveat"] is None


def test_a_caveat(tmp_path):
    last = said("hf://owner/name", tmp_path)[-1]
    assert last["directory"] == str(EMBEDDED_DIRECTORY)
    assert "the embedded model serves" in last["caveat"]


def test_an_error_by_its_class_and_text(tmp_path):
    (tmp_path / "vgg19_bn_cqt").mkdir()
    (tmp_path / "vgg19_bn_cqt" / "save.pt").write_bytes(b"no checkpoint")
    last = said(str(tmp_path / "vgg19_bn_cqt" / "save.pt"), tmp_path)[-1]
    assert last["error"] == "ModelRefused"
    assert "save.pt" in last["message"]


def test_it_ends_with_whoever_asked(tmp_path):
    process = start()
    with process.stdout:
        ask(process, str(write_checkpoint(tmp_path)), tmp_path / "cache")
        assert json.loads(process.stdout.readline())["stage"]
        process.stdin.close()
        assert process.wait(60) == 1
    assert not list((tmp_path / "cache" / "imported").glob("*/card.json"))
