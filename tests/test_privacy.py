"""The libraries save nothing about this device, and report nothing."""

import os
import subprocess
import sys


def test_the_runtime_keeps_no_device_id_and_no_database(tmp_path):
    changed = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    code = "import ccmusic.inference.backend, threading, os; print(len(os.listdir('/proc/self/task')))"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | changed, capture_output=True, text=True, check=True
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    bare = subprocess.run(
        [sys.executable, "-c", "import numpy, os; print(len(os.listdir('/proc/self/task')))"],
        env=environment | changed,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) <= int(bare.stdout)  # no thread that could send


def test_hugging_faces_library_reports_nothing():
    code = "import ccmusic; from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)"
    changed = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name and name != "DO_NOT_TRACK"}
    done = subprocess.run([sys.executable, "-c", code], env=changed, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_an_operator_may_turn_telemetry_on():
    code = "import os, ccmusic; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"ORT_DISABLE_TELEMETRY": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0\n"
