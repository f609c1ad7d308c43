"""Make a small labelled set to try ``ccmusic train`` and ``ccmusic evaluate`` on: three kinds of sound, all computed.

    python examples/own_data/toy_set.py toy            # toy/LABEL/ARTIST/NN.wav and toy/toy.csv

Each "artist" keeps a tempo, a key and an instrument of its own, so that a set split by artist asks for more than
recognising a recording.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 22050
PEAK = 0.7
FADED_SECONDS = 6.0
"""After which a string is not heard any more."""

Make = Callable[[np.random.Generator, np.random.Generator, float], np.ndarray]
"""A label's sound, of what the artist keeps, what each take changes, and seconds."""


def drums(artist: np.random.Generator, take: np.random.Generator, seconds: float) -> np.ndarray:
    """A loop: a falling sine on the beat, a burst of noise on the off-beat, short noise on the eighths."""
    beat = 60 / artist.uniform(90, 150)
    kick, decay = artist.uniform(45, 70), artist.uniform(0.05, 0.12)
    out = np.zeros(round(seconds * SAMPLE_RATE))
    for eighth in range(math.ceil(seconds / (beat / 2))):
        first = round(eighth * beat / 2 * SAMPLE_RATE)
        time = np.arange(min(len(out) - first, round(0.3 * SAMPLE_RATE))) / SAMPLE_RATE
        noise = take.standard_normal(len(time))
        out[first : first + len(time)] += 0.15 * noise * np.exp(-time / 0.02)
        if eighth % 4 == 0 or take.random() < 0.15:
            out[first : first + len(time)] += np.sin(2 * np.pi * kick * (time + 0.3 * time**2)) * np.exp(-time / 0.15)
        if eighth % 4 == 2:
            out[first : first + len(time)] += 0.5 * noise * np.exp(-time / decay)
    return out


def chords(artist: np.random.Generator, take: np.random.Generator, seconds: float) -> np.ndarray:
    """Triads that fade as plucked strings do, one a second or so."""
    root, partials = artist.uniform(110, 260), int(artist.integers(3, 9))
    step = artist.uniform(0.7, 1.4)
    out = np.zeros(round(seconds * SAMPLE_RATE))
    for first in range(0, len(out), round(step * SAMPLE_RATE)):
        time = np.arange(min(len(out) - first, round(FADED_SECONDS * SAMPLE_RATE))) / SAMPLE_RATE
        third = take.choice([3, 4])
        for semitone in take.choice([0, 2, 5, 7, 9]) + np.array([0, third, 7]):
            frequency = root * 2 ** (semitone / 12)
            for partial in range(1, partials + 1):
                if partial * frequency < SAMPLE_RATE / 2:
                    tone = np.sin(2 * np.pi * partial * frequency * time) * np.exp(-time * partial) / partial
                    out[first : first + len(time)] += tone
    return out


def noise(artist: np.random.Generator, take: np.random.Generator, seconds: float) -> np.ndarray:
    """Wind: noise through a wide band that swells slowly."""
    low, wide = artist.uniform(100, 800), artist.uniform(2, 8)
    n = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(take.standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    spectrum[(frequency < low) | (frequency > low * wide)] *= 0.02
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * take.uniform(0.05, 0.3) * np.arange(n) / SAMPLE_RATE + take.uniform(0, 6))
    return np.asarray(np.fft.irfft(spectrum, n) * swell)


KINDS: dict[str, Make] = {"drums": drums, "chords": chords, "noise": noise}


def make(directory: Path, *, artists: int = 6, takes: int = 2, seconds: float = 12.0, seed: int = 0) -> Path:
    """Write the set, and return its CSV: path, label, artist, and which half of the takes it is of.

    Another seed makes other artists.
    """
    rows = []
    for kind, (label, sound) in enumerate(KINDS.items()):
        for artist in range(artists):
            for take in range(takes):
                keeps, changes = [seed, kind, artist], [seed, kind, artist, take]
                waveform = sound(np.random.default_rng(keeps), np.random.default_rng(changes), seconds)
                path = Path(label) / f"artist-{artist + 1}" / f"{take + 1:02}.wav"
                (directory / path).parent.mkdir(parents=True, exist_ok=True)
                scaled = (PEAK * waveform / np.abs(waveform).max()).astype(np.float32)
                soundfile.write(directory / path, scaled, SAMPLE_RATE, subtype="PCM_16")
                half = "first" if take < takes / 2 else "second"
                rows.append([path.as_posix(), label, f"{label} {path.parent.name} of {seed}", half])
    table = directory / "toy.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "artist", "half"])
        writer.writerows(rows)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--artists", type=int, default=6)
    parser.add_argument("--takes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=0, help="another makes other artists")
    print(make(**vars(parser.parse_args())))
