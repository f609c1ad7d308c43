"""The original app's pipeline, step by step, written from its public description, to compare its speed with ours.

librosa loads and transforms the recording, matplotlib draws each window into a JPEG file, Pillow reads and resizes it,
torch runs VGG19-BN eagerly on one window after the other, and the windows vote. The original builds the network and
loads its checkpoint again for each request; with `reload=False` it does not.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import librosa
import librosa.display
import matplotlib as mpl
import numpy as np
import torch
from PIL import Image
from torch import nn

mpl.use("Agg")
import matplotlib.pyplot as plt

WINDOW_SECONDS = 11.4
VGG19 = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512, "M")


class Vgg19Bn(nn.Module):
    """torchvision's VGG19-BN with ccMusic's head: the same layers, keys and initialisation."""

    def __init__(self, n_labels: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in VGG19:
            if width == "M":
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        ratio = (25088 / n_labels) ** 0.25
        l1 = int(ratio * n_labels)
        l2 = int(ratio * l1)
        l3 = int(ratio * l2)
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(25088, l3), nn.ReLU(inplace=True),
            nn.Dropout(), nn.Linear(l3, l2), nn.ReLU(inplace=True),
            nn.Dropout(), nn.Linear(l2, l1), nn.ReLU(inplace=True),
            nn.Linear(l1, n_labels),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class OriginalPipeline:
    """Classifies one recording at a time, as the original app does."""

    def __init__(self, checkpoint: Path, *, reload: bool) -> None:
        self._checkpoint = checkpoint
        self._reload = reload
        self._network = None if reload else self._load()

    def _load(self) -> nn.Module:
        network = Vgg19Bn()
        network.load_state_dict(torch.load(self._checkpoint, map_location="cpu", weights_only=True))
        return network.eval()

    def classify(self, recording: Path) -> tuple[int, dict[str, float]]:
        """The genre with the most votes of windows, and the seconds of each stage."""
        stages: dict[str, float] = {}
        clock = time.perf_counter

        started = clock()
        network = self._load() if self._reload else self._network
        stages["load model"] = clock() - started

        started = clock()
        waveform, rate = librosa.load(recording, sr=22050)
        stages["decode, resample"] = clock() - started

        started = clock()
        spectrum = librosa.cqt(y=waveform, sr=rate)
        decibels = librosa.power_to_db(np.abs(spectrum) ** 2, ref=np.max)
        stages["features"] = clock() - started

        frames = decibels.shape[1]
        step = int(WINDOW_SECONDS * frames / (len(waveform) / rate))
        count = frames // step
        begin = int(0.5 * (frames - count * step))
        stages["draw"] = stages["network"] = 0.0
        votes = []
        with tempfile.TemporaryDirectory() as folder:
            for i in range(count):
                started = clock()
                window = decibels[:, begin + i * step : begin + (i + 1) * step]
                file = Path(folder) / f"{i}.jpg"
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    librosa.display.specshow(window)
                plt.axis("off")
                plt.savefig(file, bbox_inches="tight", pad_inches=0.0)
                plt.close()
                image = Image.open(file).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
                array = (np.asarray(image, dtype=np.float32) / 255 - 0.5) / 0.5
                picture = torch.from_numpy(array.transpose(2, 0, 1).copy())[None]
                stages["draw"] += clock() - started
                started = clock()
                with torch.no_grad():
                    votes.append(int(network(picture).argmax()))
                stages["network"] += clock() - started
        return Counter(votes).most_common(1)[0][0], stages


if __name__ == "__main__":
    # reads a path from each line of standard input, so that pipelines in separate processes can alternate
    import json

    pipeline = OriginalPipeline(Path(sys.argv[1]), reload=sys.argv[2] == "reload")
    print("ready", flush=True)
    for line in sys.stdin:
        label, seconds = pipeline.classify(Path(line.strip()))
        print(json.dumps({"label": label, "stages": seconds}), flush=True)
