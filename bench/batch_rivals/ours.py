"""The embedded model on one thread, with the embedding, as ``ccmusic batch`` has it; a path on each line of input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.store import locate

if __name__ == "__main__":
    pipeline = Pipeline.load(locate("embedded"))
    print("ready", flush=True)
    for line in sys.stdin:
        result = pipeline.classify(Path(line.strip()), embedding=True)
        print(json.dumps({"label": result.predictions()[0].genre, "windows": len(result.windows)}), flush=True)
