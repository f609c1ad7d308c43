"""Compare families of networks: train each over the artist-disjoint folds and print a table with one row per family.

::

    python bench/families.py --data DATA [--audio AUDIO] [--work DIR] [--families cqt,mel] [--folds 0,1]

DIR keeps the finished runs, and a run with the same configuration is not trained again. A GPU is used if torch finds
one. The results of these families, and of more seeds, are in docs/experiments.md.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ccmusic.scoring.temperature import cross_fitted
from ccmusic.training import mel_front
from ccmusic.training.configuration import FOLDS, RECORDINGS, Configuration
from ccmusic.training.data import Dataset, load
from ccmusic.training.genre_measures import System
from ccmusic.training.heads import RECORDINGS_C
from ccmusic.training.linear_layers import fit_layer
from ccmusic.training.loop import train
from ccmusic.training.mel_front import UNIT_DB
from ccmusic.training.network import EMBEDDING_SIZE, GenreNetwork, Trunk
from ccmusic.training.predict import WHOLE_SECONDS
from ccmusic.training.runs import PRETRAINED, embed, is_finished, new_network, run_name

MEASURES = ("top1_16", "top5_16", "macro_f1_16", "top1_9", "top1_2")
COLUMNS = ("family", "top-1, 16", "top-5, 16", "macro-F1, 16", "top-1, 9", "top-1, 2", "ECE")
MelMap = tuple[np.ndarray, np.ndarray]


class AttentionTrunk(Trunk):
    """Mean over time weighted by softmax attention, with one set of weights for each quarter of the channels.

    Source: India, Safari and Hernando, "Self multi-head attention for speaker recognition" (2019).
    """

    def __init__(self, heads: int = 4) -> None:
        super().__init__((2, 1))
        self.heads = heads
        self.score = nn.Conv1d(EMBEDDING_SIZE, heads, 1)
        # zero scores give all frames the same weight: the network starts with the plain mean
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = self.features(x).mean(dim=2)
        weights = self.score(frames).softmax(dim=2)
        return (frames.unflatten(1, (self.heads, -1)) * weights[:, :, None]).sum(dim=3).flatten(1)


class OnsetTrunk(Trunk):
    """A second input channel: the increase of each bin since the previous frame.

    Source: Böck and Schedl, "Enhanced beat tracking with context-aware neural networks" (2011).
    """

    def __init__(self) -> None:
        super().__init__((2, 1))
        stem = self.features[0][0]
        self.onset = nn.Conv2d(1, stem.out_channels, 3, stem.stride, 1, bias=False)
        nn.init.zeros_(self.onset.weight)  # it starts as the network without this channel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rise_db = ((x[..., 1:] - x[..., :-1]) * UNIT_DB).clamp(0, 30)
        convolution, norm, activation = self.features[0]
        x = activation(norm(convolution(x) + self.onset(functional.pad(rise_db / 10, (1, 0)))))
        return self.features[1:](x).mean(dim=(2, 3))


class ConformerBlock(nn.Module):  # type: ignore[misc]
    """Half a feed-forward step, self-attention, a convolution over time, and the other half [batch, frames, size].

    Source: Gulati et al., "Conformer: convolution-augmented transformer for speech recognition" (2020); here the
    positions are absolute.
    """

    def __init__(self, size: int, heads: int = 4, kernel: int = 15, dropout: float = 0.1) -> None:
        super().__init__()
        self.before, self.after = (
            nn.Sequential(
                nn.LayerNorm(size), nn.Linear(size, 4 * size), nn.SiLU(), nn.Dropout(dropout),
                nn.Linear(4 * size, size), nn.Dropout(dropout),
            ) for _ in range(2)
        )  # fmt: skip
        self.attention_norm, self.convolution_norm, self.last_norm = (nn.LayerNorm(size) for _ in range(3))
        self.attention = nn.MultiheadAttention(size, heads, dropout=dropout, batch_first=True)
        self.convolution = nn.Sequential(
            nn.Conv1d(size, 2 * size, 1), nn.GLU(dim=1),
            nn.Conv1d(size, size, kernel, padding=kernel // 2, groups=size), nn.BatchNorm1d(size), nn.SiLU(),
            nn.Conv1d(size, size, 1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.before(x) / 2
        normed = self.attention_norm(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        x = x + self.convolution(self.convolution_norm(x).transpose(1, 2)).transpose(1, 2)
        return self.last_norm(x + self.after(x) / 2)


class ConformerTrunk(nn.Module):  # type: ignore[misc]
    """Two convolutions down to a quarter of the bins and half of the frames, four blocks, attention over time."""

    def __init__(self, size: int = 144, blocks: int = 4) -> None:
        super().__init__()
        self.size = size
        self.stem = nn.Sequential(
            nn.Conv2d(1, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.SiLU(),
            nn.Conv2d(32, 32, 3, (2, 1), 1), nn.BatchNorm2d(32), nn.SiLU(),
        )  # fmt: skip
        self.project = nn.Linear(32 * 84 // 4, size)
        self.blocks = nn.Sequential(*(ConformerBlock(size) for _ in range(blocks)))
        self.score, self.last = nn.Linear(size, 1), nn.Linear(size, EMBEDDING_SIZE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.project(self.stem(x).flatten(1, 2).transpose(1, 2))
        # sines and cosines alternate (Vaswani et al., "Attention is all you need", 2017)
        rate = torch.exp(torch.arange(0, self.size, 2, device=x.device) * (-math.log(1e4) / self.size))
        angle = torch.arange(x.shape[1], device=x.device)[:, None] * rate
        x = self.blocks(x + torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1))
        return functional.silu(self.last((x * self.score(x).softmax(dim=1)).sum(dim=1)))


class Family(NamedTuple):
    """One family; `trunk` replaces the trunk of the shipped networks, `labelled_only` leaves out unlabelled clips."""

    configuration: Configuration = Configuration()
    trunk: type[nn.Module] | None = None
    labelled_only: bool = False


_LONG: dict[str, Any] = {"seconds": (2.0, 3.0, 5.0, 10.0), "shares": (0.1, 0.35, 0.35, 0.2)}
_MEL: dict[str, Any] = {**_LONG, "shares": (0.1, 0.35, 0.4, 0.15), "front": "mel", "stem_stride": (2, 2)}

FAMILIES: dict[str, Family] = {
    "cqt": Family(),
    "cqt-scratch": Family(Configuration(start="scratch")),
    "cqt-long": Family(Configuration(**_LONG)),
    "cqt-long-24": Family(Configuration(**_LONG, epochs=24)),
    "mel": Family(Configuration(**_MEL)),
    "mel-scratch": Family(Configuration(**_MEL, start="scratch")),
    "mel-24": Family(Configuration(**_MEL, epochs=24)),
    "mel-fine": Family(Configuration(**{**_MEL, "stem_stride": (2, 1)})),
    "attention": Family(trunk=AttentionTrunk),
    "onset": Family(trunk=OnsetTrunk),
    "conformer": Family(Configuration(start="scratch", epochs=24, learning_rate=1e-3), ConformerTrunk),
    "rough": Family(Configuration(roughen=True)),
    "rough-mixed-24": Family(RECORDINGS["rough"]),
    "no-distillation": Family(Configuration(soft_weight=0.0, teacher_weight=0.0, label_weight=1.0)),
    "labelled-only": Family(Configuration(epochs=20, label_repeats=4), labelled_only=True),
}


def build(dataset: Dataset, family: Family, data: Path, mel_map: MelMap | None) -> GenreNetwork:
    """Make the network of a family with the weights that it starts from."""
    network = new_network(dataset, family.configuration)
    if family.trunk is not None:
        network.trunk = family.trunk()
    if mel_map is not None and family.configuration.front == "mel":
        network.trunk.front.start_from(*mel_map)
    if family.configuration.start == "mn04":
        network.trunk.load_mn04(data / PRETRAINED)  # other parts of a trunk keep their own start
    return network


def run(dataset: Dataset, family: Family, data: Path, work: Path, fold: int, mel_map: MelMap | None) -> None:
    """Train on all folds but one and keep the embeddings of the labelled clips."""
    torch.manual_seed(family.configuration.seed)
    rows, _ = dataset.split(fold)
    if family.labelled_only:
        rows = rows[dataset.label[rows] >= 0]
    network = build(dataset, family, data, mel_map).to("cuda" if torch.cuda.is_available() else "cpu")
    network, log = train(network, dataset, rows, family.configuration, f"{work.name}, {run_name(fold)}")
    labelled = np.flatnonzero(dataset.label >= 0)
    np.save(work / f"{run_name(fold)}.npy", embed(network, dataset, labelled, WHOLE_SECONDS))
    # written last: if the log is there, the embeddings are complete
    (work / f"{run_name(fold)}.json").write_text(json.dumps(log, indent=2) + "\n", encoding="utf-8")


def measure(dataset: Dataset, name: str, work: Path, folds: Sequence[int]) -> list[str]:
    """Make one row of the table: a regression on the embeddings, measured on the held-out folds."""
    parts, rows = [], []
    for fold in folds:
        embeddings = np.load(work / f"{run_name(fold)}.npy").astype(np.float32)
        fitted, test = (part[dataset.label[part] >= 0] for part in dataset.split(fold))
        weight, bias = fit_layer(np.nanmean(embeddings[fitted], axis=1), dataset.label[fitted], RECORDINGS_C)
        parts.append(embeddings[test] @ weight.T + bias)
        rows.append(test)
    tested = np.concatenate(rows)
    labels, place = dataset.label[tested], dataset.fold[tested]
    probabilities = cross_fitted(labels, np.concatenate(parts), place)
    system = System.measured(name, labels, probabilities, place)
    return [name, *(system.spread(measure) for measure in (*MEASURES, "ece_16"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="clips.csv, cqt_<source>.npz, teachers.npz, mn04.npz")
    parser.add_argument("--audio", type=Path, help="recordings of free music, for the families with a mel-like map")
    parser.add_argument("--work", type=Path, default=Path(".train/families"), help="directory of the finished runs")
    parser.add_argument("--families", type=lambda text: text.split(","), default=list(FAMILIES), metavar="a,b")
    parser.add_argument("--folds", type=lambda text: [*map(int, text.split(","))], default=list(FOLDS), metavar="0,1")
    options = parser.parse_args()
    if unknown := set(options.families) - set(FAMILIES):
        parser.error(f"unknown family {', '.join(sorted(unknown))}; the families are {', '.join(FAMILIES)}")
    todo = [(name, fold) for name in options.families for fold in options.folds
            if not is_finished(options.work / name, fold, FAMILIES[name].configuration)]  # fmt: skip
    mel_map = None
    if mapped := sorted({name for name, _ in todo if FAMILIES[name].configuration.front == "mel"}):
        if options.audio is None:
            parser.error(f"{', '.join(mapped)}: needs a directory of music (--audio)")
        with np.load(options.data / PRETRAINED) as pretrained:
            mel_map = mel_front.fit(options.audio, pretrained["mel_filters"])
    dataset = load(options.data)
    for line in (COLUMNS, ["---"] * len(COLUMNS)):
        print("| " + " | ".join(line) + " |")
    for name in options.families:
        (options.work / name).mkdir(parents=True, exist_ok=True)
        for fold in [fold for other, fold in todo if other == name]:
            run(dataset, FAMILIES[name], options.data, options.work / name, fold, mel_map)
        print("| " + " | ".join(measure(dataset, name, options.work / name, options.folds)) + " |", flush=True)


if __name__ == "__main__":
    main()
