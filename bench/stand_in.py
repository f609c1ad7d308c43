"""Trains a narrow VGG19-BN and widens it to the size of upstream's, as a substitute for the published checkpoint.

Usage: ``python bench/stand_in.py --data DIR --out DIR [--epochs N]``, with the extra ``train`` installed. Agreement
between precisions on random weights means little, because their logits are close together and all channels are alike.
This network is trained on the research clips at an eighth of the width, with one artist-disjoint fold held out. It is
then widened without a change of its function, so that it has the 121.9 million parameters and the file format of the
real one (``vgg19_bn_cqt/save.pt``, torchvision's keys). It is not part of the product, and its accuracy says nothing
about upstream's.

Widening: Chen, Goodfellow and Shlens, "Net2Net" (2016). Each channel is copied several times, and the next layer's
weight for it is split among the copies, here unevenly. Each copy is also scaled by a factor of its own after its batch
norm (ReLU and maximum pooling commute with it), and noise is added to its weights, so that the copies differ.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read at import

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ccmusic.features.crops import seconds_to_frames
from ccmusic.genres import LABELS
from ccmusic.training.data import Dataset, load
from ccmusic.training.teachers import Standardiser, soft_targets

STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""VGG19: channels and convolutions of each stage; a 2 x 2 maximum pooling follows each stage."""
CELLS = 49
"""Points that remain of 224 x 224 after five poolings."""
FULL_HEAD = (3958, 629, 100)
NARROW = 8
WINDOW_SECONDS = 11.4
SIZE = 224
BATCH = 16
LEARNING_RATE = 1.5e-3
SOFT_SHARE = 0.5
"""Share of the teachers' probes in the loss of the classes; the rest is the weak label or the known group of genres."""
TEACHERS = ("audioset_embedding", "lastfm_embedding")
"""Embeddings that the head's first hidden layer also predicts, in training only: 1,700 clips alone are too few."""
SCALE_SPREAD = 0.35
"""Standard deviation of the logarithm of the copies' factors."""
NOISE = 0.01
"""Standard deviation of the noise, relative to that of the weights to which it is added."""


class Vgg19Bn(nn.Module):
    """VGG19 with batch norm and upstream's head, at any width, with torchvision's keys."""

    def __init__(self, channels: tuple[int, ...], head: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for width, (_, depth) in zip(channels, STAGES, strict=True):
            for _ in range(depth):
                layers += [nn.Conv2d(previous, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                previous = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        first, second, third = head
        self.classifier = nn.Sequential(
            *(nn.Dropout(0.3), nn.Linear(previous * CELLS, first), nn.ReLU()),
            *(nn.Dropout(0.2), nn.Linear(first, second), nn.ReLU()),
            *(nn.Dropout(0.1), nn.Linear(second, third), nn.ReLU()),
            nn.Linear(third, len(LABELS)),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(pictures).flatten(1))


def _shrinking(n_in: int, n_drawn: int) -> np.ndarray:
    """The matrix [shape=(SIZE, n_in)] that draws n_in cells on n_drawn pixels and shrinks these to `SIZE`."""
    scale = n_drawn / SIZE
    centres = (np.arange(SIZE) + 0.5) * scale
    pixels = np.arange(n_drawn) + 0.5
    weights = np.maximum(0, 1 - np.abs(pixels - centres[:, None]) / max(scale, 1.0))
    weights /= weights.sum(axis=1, keepdims=True)
    cells = np.zeros((n_drawn, n_in))
    cells[np.arange(n_drawn), (pixels * n_in / n_drawn).astype(int)] = 1
    return (weights @ cells).astype(np.float32)


class Drawing:
    """Upstream's picture without the JPEG file: similar enough to train on, and 50 times faster than matplotlib."""

    def __init__(self, frames: int) -> None:
        from matplotlib import colormaps

        self._colours = colormaps["magma"](np.arange(256))[:, :3].astype(np.float32) * 2 - 1
        self._rows = _shrinking(84, 369)[:, ::-1].copy()  # the lowest bin at the bottom
        self._columns = _shrinking(frames, 496).T.copy()

    def __call__(self, window: np.ndarray) -> np.ndarray:
        """Draw uint8 decibels [shape=(84, frames)] as a picture [shape=(3, 224, 224), dtype=float32]."""
        low, high = int(window.min()), int(window.max())
        steps = np.clip((np.arange(256) - low) * (256 / max(high - low, 1)), 0, 255).astype(int)
        picture = self._colours[steps[window]]
        return np.stack([self._rows @ (picture[:, :, c] @ self._columns) for c in range(3)])


def batches(dataset: Dataset, rows: np.ndarray, drawing: Drawing, frames: int, seed: int) -> Iterator[tuple]:
    """Random crops of each clip once, in random order: pictures and rows."""
    random = np.random.default_rng(seed)
    order = random.permutation(rows)
    for first in range(0, len(order) - BATCH + 1, BATCH):
        chosen = order[first : first + BATCH]
        starts = [random.integers(0, dataset.frames[row] - frames + 1) for row in chosen]
        crops = [dataset.spectrograms[row, :, s : s + frames] for row, s in zip(chosen, starts, strict=True)]
        yield torch.from_numpy(np.stack([drawing(crop) for crop in crops])), torch.from_numpy(chosen)


def held_out_windows(
    dataset: Dataset, rows: np.ndarray, drawing: Drawing, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """All complete windows of the clips, in order: pictures and the row of each."""
    windows = [(row, start) for row in rows for start in range(0, dataset.frames[row] - frames + 1, frames)]
    pictures = np.stack([drawing(dataset.spectrograms[row, :, start : start + frames]) for row, start in windows])
    return pictures, np.array([row for row, _ in windows])


@torch.no_grad()
def answers(network: nn.Module, pictures: np.ndarray, batch: int = 16) -> np.ndarray:
    network.eval()
    parts = [network(torch.from_numpy(pictures[i : i + batch])) for i in range(0, len(pictures), batch)]
    return torch.cat(parts).numpy()


def train(dataset: Dataset, fold: int, epochs: int, unfinished: Path) -> Vgg19Bn:
    frames = seconds_to_frames(WINDOW_SECONDS)
    drawing = Drawing(frames)
    rows, held_out = (part[dataset.frames[part] >= frames] for part in dataset.split(fold))
    held_out = held_out[dataset.label[held_out] >= 0]
    soft = torch.from_numpy(soft_targets(dataset, rows))
    embeddings = torch.from_numpy(
        np.concatenate([Standardiser.fit(dataset, name, rows)(dataset.teachers[name].mean()) for name in TEACHERS], 1)
    ).float()
    allowed = torch.from_numpy(dataset.allowed)
    network = Vgg19Bn(tuple(width // NARROW for width, _ in STAGES), narrow_head())
    network.to(memory_format=torch.channels_last)
    predictor = nn.Linear(narrow_head()[0], embeddings.shape[1])
    parameters = [*network.parameters(), *predictor.parameters()]
    optimiser = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, epochs=epochs, steps_per_epoch=len(rows) // BATCH, pct_start=0.2
    )
    pictures, row_of = held_out_windows(dataset, held_out, drawing, frames)
    truth = dataset.label[row_of]
    share = np.bincount(dataset.label[rows][dataset.label[rows] >= 0], minlength=len(LABELS))
    print(f"{len(rows)} clips to train on; {len(held_out)} held out, {len(pictures)} windows", flush=True)
    print(
        f"accuracy of the most frequent label of the training clips: {(truth == share.argmax()).mean():.3f}", flush=True
    )
    for epoch in range(epochs):
        started, losses = time.perf_counter(), []
        network.train()
        for crops, chosen in batches(dataset, rows, drawing, frames, seed=epoch):
            with torch.autocast("cpu", torch.bfloat16):
                maps = network.features(crops.contiguous(memory_format=torch.channels_last))
                hidden = network.classifier[:3](maps.flatten(1))
                logits, predicted = network.classifier[3:](hidden), predictor(hidden)
            log_p = logits.float().log_softmax(1)
            loss = nn.functional.mse_loss(predicted.float(), embeddings[chosen])
            loss = loss - SOFT_SHARE * (soft[chosen] * log_p).sum(1).mean()
            possible = log_p.masked_fill(~allowed[chosen], -torch.inf).logsumexp(1)
            loss = loss - (1 - SOFT_SHARE) * possible.mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        if epoch % 3 == 2 or epoch == epochs - 1:
            right = answers(network, pictures).argmax(1) == truth
            note = f", accuracy on held-out windows {right.mean():.3f}"
        else:
            note = ""
        seconds = time.perf_counter() - started
        torch.save(network.state_dict(), unfinished)
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}{note}, {seconds:.0f} s", flush=True)
    logits = answers(network, pictures)
    clips = np.stack([logits[row_of == row].mean(axis=0) for row in held_out]).argmax(1)
    print(f"accuracy on held-out clips {(clips == dataset.label[held_out]).mean():.3f}", flush=True)
    return network


def narrow_head() -> tuple[int, ...]:
    return tuple(max(width // NARROW, min(width, 64)) for width in FULL_HEAD)


class Widening:
    """Copies of channels, and the split of the next layer's weights among them."""

    def __init__(self, seed: int = 16) -> None:
        self._random = np.random.default_rng(seed)

    def copies(self, n: int, n_wide: int) -> tuple[np.ndarray, np.ndarray]:
        """For each of n_wide channels, which of the n channels it copies, and the factor that scales the copy."""
        source = np.arange(n_wide) % n
        return source, np.exp(self._random.normal(0, SCALE_SPREAD, n_wide))

    def split_weights(self, weight: np.ndarray, source: np.ndarray, factor: np.ndarray) -> np.ndarray:
        """Weights [out, in, ...] of the next layer, split so that its sums stay the same."""
        wide = weight[:, source]
        split = self._random.uniform(0.4, 1.6, wide.shape[:2])
        total = np.zeros(weight.shape[:2])
        for copy, original in enumerate(source):
            total[:, original] += split[:, copy]
        split /= total[:, source] * factor
        return wide * split.reshape(split.shape + (1,) * (weight.ndim - 2))

    def with_noise(self, weight: np.ndarray) -> np.ndarray:
        return weight + self._random.normal(0, NOISE * weight.std(), weight.shape)


def widen(network: Vgg19Bn) -> dict[str, torch.Tensor]:
    """The state_dict of a full VGG19-BN with the same answers as the narrow one, apart from the noise."""
    state = {key: value.numpy().astype(np.float64) for key, value in network.state_dict().items()}
    wide: dict[str, np.ndarray] = {}
    widening = Widening()
    source, factor = np.arange(3), np.ones(3)
    position = 0
    for width, depth in STAGES:
        for _ in range(depth):
            conv, norm = f"features.{position}", f"features.{position + 1}"
            weight = widening.split_weights(state[f"{conv}.weight"], source, factor)
            source, factor = widening.copies(len(weight), width)
            wide[f"{conv}.weight"] = widening.with_noise(weight[source])
            wide[f"{conv}.bias"] = state[f"{conv}.bias"][source]
            wide[f"{norm}.weight"] = state[f"{norm}.weight"][source] * factor
            wide[f"{norm}.bias"] = state[f"{norm}.bias"][source] * factor
            wide[f"{norm}.running_mean"] = state[f"{norm}.running_mean"][source]
            wide[f"{norm}.running_var"] = state[f"{norm}.running_var"][source]
            wide[f"{norm}.num_batches_tracked"] = state[f"{norm}.num_batches_tracked"]
            position += 3
        position += 1
    source = (source[:, None] * CELLS + np.arange(CELLS)).ravel()
    factor = np.repeat(factor, CELLS)
    for layer, width in zip((1, 4, 7), FULL_HEAD, strict=True):
        weight = widening.split_weights(state[f"classifier.{layer}.weight"], source, factor)
        source, factor = widening.copies(len(weight), width)
        wide[f"classifier.{layer}.weight"] = widening.with_noise(weight[source] * factor[:, None])
        wide[f"classifier.{layer}.bias"] = state[f"classifier.{layer}.bias"][source] * factor
    wide["classifier.9.weight"] = widening.split_weights(state["classifier.9.weight"], source, factor)
    wide["classifier.9.bias"] = state["classifier.9.bias"]
    return {
        key: torch.from_numpy(value.astype(np.int64 if key.endswith("tracked") else np.float32))
        for key, value in wide.items()
    }


def widen_and_compare(narrow: Vgg19Bn, pictures: np.ndarray) -> dict[str, torch.Tensor]:
    """Widen, load strictly, and print how much the answers changed."""
    state = widen(narrow)
    full = Vgg19Bn(tuple(width for width, _ in STAGES), FULL_HEAD)
    full.load_state_dict(state, strict=True)
    before, after = answers(narrow, pictures), answers(full, pictures, batch=4)
    print(
        f"{sum(parameter.numel() for parameter in full.parameters())} parameters; of {len(pictures)} windows "
        f"{(before.argmax(1) == after.argmax(1)).mean():.3f} keep their genre, logits change by "
        f"{np.abs(before - after).mean():.4f} on average, {np.abs(before - after).max():.4f} at most",
        flush=True,
    )
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="research clips: clips.csv, cqt_*.npz, teachers.npz")
    parser.add_argument("--out", type=Path, required=True, help="writes narrow.pt and vgg19_bn_cqt/save.pt here")
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--fold", type=int, default=0, help="the fold to hold out")
    arguments = parser.parse_args()
    torch.manual_seed(16)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    dataset = load(arguments.data)
    narrow_file = arguments.out / "narrow.pt"
    arguments.out.mkdir(parents=True, exist_ok=True)
    if narrow_file.exists():
        print(f"{narrow_file.name} exists and is not trained again")
        narrow = Vgg19Bn(tuple(width // NARROW for width, _ in STAGES), narrow_head())
        narrow.load_state_dict(torch.load(narrow_file, weights_only=True))
    else:
        narrow = train(dataset, arguments.fold, arguments.epochs, arguments.out / "unfinished.pt")
        torch.save(narrow.state_dict(), narrow_file)
    frames = seconds_to_frames(WINDOW_SECONDS)
    _, held_out = dataset.split(arguments.fold)
    few = held_out[dataset.frames[held_out] >= frames][::8]
    pictures, _ = held_out_windows(dataset, few, Drawing(frames), frames)
    state = widen_and_compare(narrow, pictures[:64])
    target = arguments.out / "vgg19_bn_cqt" / "save.pt"
    target.parent.mkdir(exist_ok=True)
    torch.save(state, target)
    print(f"{target.stat().st_size / 1e6:.1f} MB written")


if __name__ == "__main__":
    main()
