import subprocess
import sys

import ccmusic.health


def test_all_names_exist_and_are_sorted():
    names = ccmusic.health.__all__
    assert all(hasattr(ccmusic.health, name) for name in names)
    assert names == sorted(names, key=lambda name: (not name[0].isupper(), name))


def test_it_needs_only_starlette():
    code = "import sys, ccmusic.health; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"onnxruntime", "numpy", "gradio", "fastapi", "pydantic", "uvicorn", "torch", "av"}
    assert not heavy & set(loaded)
    own = {name for name in loaded if name.startswith("ccmusic.")}
    assert {name.split(".")[1] for name in own} == {"health", "version"}
