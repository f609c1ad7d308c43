"""Tones in three bands, each by three artists, and models that recognise the bands."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.bands_model import write_own_model
from support.recordings import bin_frequency, tone, wav

LABELS = ("low", "middle", "high")
ARTISTS = 3
SECONDS = (1.5, 3.5)


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of labels, artists and WAV files; one file is broken."""
    root = tmp_path_factory.mktemp("tones")
    for place, label in enumerate(LABELS):
        for artist in range(ARTISTS):
            directory = root / label / f"artist {artist}"
            directory.mkdir(parents=True)
            for take, seconds in enumerate(SECONDS):
                frequency = bin_frequency(5 * place + 1 + artist)
                (directory / f"{take}.wav").write_bytes(wav(tone(frequency, seconds)))
    (root / "low" / "artist 0" / "broken.wav").write_bytes(b"RIFF and no more")
    return root


@pytest.fixture(scope="session")
def table(tones: Path) -> Path:
    """The same recordings as a CSV with unusual column names, without the broken file."""
    rows = ["file,kind,singer,side"]
    rows += [
        f"{label}/artist {artist}/{take}.wav,{label},{label} {artist},{'low' if label == 'low' else 'rest'}"
        for label in LABELS
        for artist in range(ARTISTS)
        for take in range(len(SECONDS))
    ]
    path = tones / "tones.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8-sig")
    return path


@pytest.fixture(scope="session")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answers for `tones` are always right."""
    return write_own_model(tmp_path_factory.mktemp("models") / "knowing", LABELS)


@pytest.fixture(scope="session")
def confused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the same labels in another order, which confuses low and high."""
    return write_own_model(tmp_path_factory.mktemp("models") / "confused", LABELS[::-1], name="confused")
