"""A synthetic data directory in the format of the training: five folds, four genres, three tiny teachers."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

torch.set_num_threads(1)  # more would only wait for each other, because the tensors are small

LABELS_USED = {"Symphony": 0, "Solo": 2, "Dance_pop": 8, "Soft_rock": 14}
TEACHER_SIZES = {
    "audioset_logits": 4,
    "audioset_embedding": 3,
    "lastfm_tags": 3,
    "lastfm_embedding": 2,
    "jamendo_tags": 3,
}
N_FRAMES = 450
FIELDS = ("id", "source", "artist", "title", "tags", "label", "basis", "level9", "level2", "fold", "frames", "rms")
GROUPS = {
    "Symphony": ("Symphony", "Classic"),
    "Solo": ("Solo", "Classic"),
    "Dance_pop": ("Dance_and_house", "Non_classic"),
    "Soft_rock": ("Rock", "Non_classic"),
}


@pytest.fixture(scope="session")
def small_export(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """An untrained network of few blocks, and its ONNX file; tests only read them."""
    from ccmusic.training.export import export_onnx
    from support.genre_networks import few_blocks, untrained_network

    path = tmp_path_factory.mktemp("small") / "model.onnx"
    with few_blocks():
        network = untrained_network(0)
    export_onnx(network, path)
    return network, path


def _rows() -> list[dict[str, str]]:
    rows = []
    for fold in range(5):
        for label in LABELS_USED:
            for take in range(2):
                level9, level2 = GROUPS[label]
                hidden = take == 1 and fold == 4  # of some clips only the group is known, of some nothing
                rows.append({
                    "id": f"made/{fold}{label}{take}", "source": "made", "artist": f"artist {fold} {label}",
                    "title": "", "tags": "", "label": "" if hidden else label, "basis": "" if hidden else "artist",
                    "level9": "" if hidden and label != "Soft_rock" else level9,
                    "level2": "" if hidden and label == "Solo" else level2,
                    "fold": str(fold), "frames": str(N_FRAMES), "rms": "0.1",
                })  # fmt: skip
    return rows


@pytest.fixture(scope="session")
def data_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data that a network can learn: each genre has its own loud bins and its own effect on every teacher output."""
    directory = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(16)
    rows = _rows()
    with (directory / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)

    spectrograms, columns = {}, {name: [] for name in (*TEACHER_SIZES, "jamendo_tags_clip")}
    for row in rows:
        index = LABELS_USED[next(label for label in LABELS_USED if label in row["id"])]
        picture = generator.integers(0, 60, size=(84, N_FRAMES))
        picture[5 * index : 5 * index + 6] += 100
        picture.flat[0] = 160
        spectrograms[row["id"].replace("/", "|")] = picture.astype(np.uint8)
        for name, column in columns.items():
            size, count = TEACHER_SIZES.get(name, 3), 1 if name.endswith("_clip") else 2
            values = generator.normal(size=(count, size)) * 0.1
            values[:, index % size] += 1 + index / 8
            column.append(1 / (1 + np.exp(-values)) if "tags" in name else values)
    np.savez(directory / "cqt_made.npz", **spectrograms)
    counts = np.full(len(rows), 2, dtype=np.int16)
    np.savez(
        directory / "teachers.npz",
        ids=np.array([row["id"] for row in rows]),
        audioset_windows=counts, lastfm_windows=counts, jamendo_windows=counts,
        **{name: np.concatenate(column).astype(np.float16) for name, column in columns.items()},
    )  # fmt: skip
    return directory
