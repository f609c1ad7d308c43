"""The `musicnn` package, as its documentation uses it; reads a path from each line of standard input.

Needs `pip install "tensorflow-cpu<2.16" librosa` and `pip install --no-deps musicnn`: its own numpy is too old for the
Python of today.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys

from musicnn.tagger import top_tags

if __name__ == "__main__":
    print("ready", flush=True)
    for line in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()):
            tags = top_tags(line.strip(), model="MSD_musicnn", topN=3, print_tags=False)
        print(json.dumps({"label": tags[0]}), flush=True)
