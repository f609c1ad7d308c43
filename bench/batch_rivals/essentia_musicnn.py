"""Essentia's MusiCNN, as its documentation uses it; reads a path from each line of standard input.

Needs `essentia-tensorflow`; the frozen graph is Essentia's `msd-musicnn-1.pb`, or what `freeze_musicnn.py` writes.
"""

from __future__ import annotations

import json
import sys

import essentia
import essentia.standard as es

essentia.log.infoActive = False

if __name__ == "__main__":
    predict = es.TensorflowPredictMusiCNN(
        graphFilename=sys.argv[1], input="model/Placeholder", output="model/Sigmoid"
    )  # fmt: skip
    print("ready", flush=True)
    for line in sys.stdin:
        audio = es.MonoLoader(filename=line.strip(), sampleRate=16000, resampleQuality=4)()
        tags = predict(audio).mean(axis=0)
        print(json.dumps({"label": int(tags.argmax()), "windows": len(tags)}), flush=True)
