"""Measure how far the acoustic embedding moves when a recording is encoded again, and how far other recordings are.

::

    python bench/identity.py --audio DIR ... [--data DATA] [--seconds 60] [--write FILE]

Of each recording the first seconds are encoded in every way of `ENCODINGS`. Windows of the same recording, and of all
others, are what must not be taken for duplicates. DATA has the spectrograms of 2,000 clips by other artists.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from robustness import Audio

from ccmusic.audio.decode import DecodeLimits, decode
from ccmusic.batch.duplicates import MAX_MOVEMENT_DISTANCE, MAX_PROFILE_DISTANCE, MAX_SECONDS_APART
from ccmusic.features.cqt import FRAMES_PER_SECOND, SAMPLE_RATE, cqt_db
from ccmusic.features.crops import TOP_DB
from ccmusic.inference.acoustic_identity import PROFILE_SIZE, acoustic_embedding


def by_libsndfile(audio: Audio, form: str, subtype: str) -> bytes:
    file = io.BytesIO()
    samples = np.clip(audio.samples, -1, 1)
    with soundfile.SoundFile(file, "w", audio.rate, samples.shape[1], subtype, format=form) as sound:
        for first in range(0, len(samples), audio.rate):  # libsndfile keeps what Vorbis gets at once on the stack
            sound.write(samples[first : first + audio.rate])
    return file.getvalue()


ENCODINGS: dict[str, Callable[[Audio], bytes]] = {
    "MP3, 320 kbit/s": lambda audio: audio.encoded("mp3", "libmp3lame", 320_000),
    "MP3, 128 kbit/s": lambda audio: audio.encoded("mp3", "libmp3lame", 128_000),
    "MP3, 64 kbit/s": lambda audio: audio.encoded("mp3", "libmp3lame", 64_000),
    "MP3, 48 kbit/s, 22,050 Hz": lambda audio: audio.encoded("mp3", "libmp3lame", 48_000, 22050),
    "Ogg Vorbis, quality 0.4": lambda audio: by_libsndfile(audio, "OGG", "VORBIS"),
    "Opus, 96 kbit/s": lambda audio: audio.encoded("ogg", "libopus", 96_000, 48000),
    "Opus, 24 kbit/s": lambda audio: audio.encoded("ogg", "libopus", 24_000, 48000),
    "AAC in MP4, 128 kbit/s": lambda audio: audio.encoded("ipod", "aac", 128_000),
    "AAC in ADTS, 64 kbit/s": lambda audio: audio.encoded("adts", "aac", 64_000),
    "AAC in ADTS, 32 kbit/s": lambda audio: audio.encoded("adts", "aac", 32_000),
    "WMA, 128 kbit/s": lambda audio: audio.encoded("asf", "wmav2", 128_000),
    "WAV, 22,050 Hz": lambda audio: audio.at(22050).wav(),
    "level -12 dB": lambda audio: audio.times(0.25).wav(),
    "level +6 dB, clipped": lambda audio: audio.times(2.0).wav(),
    "0.05 s later": lambda audio: audio.after(0.05).wav(),
    "the first 0.05 s cut off": lambda audio: audio.without_first(0.05).wav(),
    "0.05 s later, -12 dB, MP3, 64 kbit/s, 22,050 Hz": lambda audio: (
        audio.after(0.05).times(0.25).encoded("mp3", "libmp3lame", 64_000, 22050)
    ),
}
VERSIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "another recording added at -6 dB": lambda song, other: song + 0.5 * other,
    "another recording added at -12 dB": lambda song, other: song + 0.25 * other,
    "the same at -6 dB in the second half": lambda song, other: song + 0.5 * np.where(second_half(song), other, 0),
    "backwards": lambda song, other: song[::-1],
    "3 % faster and higher": lambda song, other: soxr.resample(song, 1.03 * SAMPLE_RATE, SAMPLE_RATE),
}
"""Waveforms at 22,050 Hz: a song, and another at the same level -> another version of the song."""
WINDOW_SECONDS = (10, 30, 60)
PAIR_BLOCK = 512
N_NEAREST = 300
SUFFIXES = (".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav")


def second_half(song: np.ndarray) -> np.ndarray:
    return np.arange(len(song)) > len(song) // 2


def read(path: Path) -> Audio:
    """The whole recording, in stereo if it is stereo."""
    import av

    with av.open(str(path)) as media:
        resampler = av.AudioResampler(format="flt")
        frames = [frame for packet in media.decode(audio=0) for frame in resampler.resample(packet)]
    channels = frames[0].layout.nb_channels
    samples = np.concatenate([frame.to_ndarray().reshape(-1, channels) for frame in frames])
    return Audio(samples[:, :2], frames[0].sample_rate)


def spectrogram(source: bytes | Path) -> tuple[np.ndarray, float]:
    recording = decode(source, DecodeLimits())
    return cqt_db(recording.waveform), recording.duration_seconds


def distances(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Of the profiles, and of the movements."""
    difference = one.astype(np.float64) - other.astype(np.float64)
    return float(np.linalg.norm(difference[:PROFILE_SIZE])), float(np.linalg.norm(difference[PROFILE_SIZE:]))


def row(name: str, found: list[tuple[float, float, float]], missing: int) -> str:
    """Profile distance, movement distance and seconds apart of each pair."""
    table = np.array(found).reshape(-1, 3)
    is_same = (
        (table[:, 0] <= MAX_PROFILE_DISTANCE)
        & (table[:, 1] <= MAX_MOVEMENT_DISTANCE)
        & (np.abs(table[:, 2]) <= MAX_SECONDS_APART)
    )
    middle, largest = np.median(table, axis=0), table.max(axis=0)
    cells = f"{middle[0]:.3f} | {largest[0]:.3f} | {middle[1]:.3f} | {table[:, 1].min():.3f} | {largest[1]:.3f}"
    return f"| {name} | {len(table) + missing} | {cells} | {np.abs(table[:, 2]).max():.3f} | {is_same.sum()} |"


TABLE_HEAD = """| | pairs | profile: median | largest | movement: median | smallest | largest | seconds apart | same |
|---|---|---|---|---|---|---|---|---|"""


def encoding_rows(audios: list[tuple[str, Audio]]) -> list[str]:
    """Each encoding against 16-bit WAV."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ENCODINGS}
    n_without = dict.fromkeys(ENCODINGS, 0)
    for name, audio in audios:
        print(name, flush=True)
        original, seconds = spectrogram(audio.wav())
        reference = acoustic_embedding(original)
        for encoding, encode in ENCODINGS.items():
            encoded, encoded_seconds = spectrogram(encode(audio))
            embedding = acoustic_embedding(encoded)
            if reference is None or embedding is None:
                n_without[encoding] += 1
            else:
                found[encoding].append((*distances(reference, embedding), encoded_seconds - seconds))
    return [row(encoding, pairs, n_without[encoding]) for encoding, pairs in found.items() if pairs]


def version_rows(waveforms: list[np.ndarray]) -> list[str]:
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in VERSIONS}
    for index, song in enumerate(waveforms):
        reference = acoustic_embedding(cqt_db(song))
        other = np.resize(waveforms[(index + 5) % len(waveforms)], len(song))
        other = other * np.sqrt(np.mean(song**2) / np.mean(other**2))
        for name, change in VERSIONS.items():
            changed = np.ascontiguousarray(change(song, other), np.float32)
            embedding = acoustic_embedding(cqt_db(changed))
            if reference is not None and embedding is not None:
                apart = 0.0 if len(changed) == len(song) else (len(changed) - len(song)) / SAMPLE_RATE
                found[name].append((*distances(reference, embedding), apart))
    return [row(name, pairs, 0) for name, pairs in found.items() if pairs]


@dataclass
class Pairs:
    """All pairs of some embeddings.

    Attributes
    ----------
    n_embeddings : int
    nearest : list of (float, int, int)
        How many times the limit is reached by the larger of both distances, and the two embeddings, nearest first.
    """

    n_embeddings: int
    nearest: list[tuple[float, int, int]]

    @classmethod
    def of(cls, embeddings: list[np.ndarray]) -> Pairs:
        table = np.array(embeddings, np.float32)
        parts = (slice(0, PROFILE_SIZE), MAX_PROFILE_DISTANCE), (slice(PROFILE_SIZE, None), MAX_MOVEMENT_DISTANCE)
        found: list[tuple[float, int, int]] = []
        for first in range(0, len(table), PAIR_BLOCK):
            block = table[first : first + PAIR_BLOCK]
            times = np.maximum(
                *(
                    np.sqrt(np.maximum(2.0 - 2.0 * block[:, part] @ table[:, part].T, 0.0)) / limit
                    for part, limit in parts
                )
            )
            times[np.arange(len(table)) <= np.arange(first, first + len(block))[:, np.newaxis]] = np.inf
            for place in np.argsort(times, axis=None)[:N_NEAREST].tolist():
                row, column = divmod(place, len(table))
                found.append((float(times[row, column]), first + row, column))
        return cls(len(table), sorted(pair for pair in found if np.isfinite(pair[0]))[:N_NEAREST])

    @property
    def same(self) -> list[tuple[int, int]]:
        """Those that are as near as duplicates."""
        return [(one, other) for times, one, other in self.nearest if times <= 1.0]

    def row(self, name: str) -> str:
        others = [times for times, _, _ in self.nearest if times > 1.0]
        n_pairs = self.n_embeddings * (self.n_embeddings - 1) // 2
        cells = " | ".join(f"{others[rank]:.1f}" if rank < len(others) else "" for rank in (0, 9, 99))
        return f"| {name} | {self.n_embeddings} | {n_pairs:,} | {len(self.same)} | {cells} |"


def windows(spectrograms: dict[str, np.ndarray], seconds: float) -> tuple[list[str], list[np.ndarray]]:
    """Names and embeddings of windows of each recording, half of a window apart."""
    width = round(seconds * FRAMES_PER_SECOND) + 1
    names, embeddings = [], []
    for name, whole in spectrograms.items():
        for first in range(0, whole.shape[1] - width + 1, width // 2):
            cut = whole[:, first : first + width]
            if (embedding := acoustic_embedding(np.maximum(cut - cut.max(), -TOP_DB))) is not None:
                names.append(f"{name} from {first / FRAMES_PER_SECOND:.0f} s")
                embeddings.append(embedding)
    return names, embeddings


def stored_clips(directory: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Name and spectrogram of each stored clip."""
    with (directory / "clips.csv").open(encoding="utf-8") as file:
        titles = {row["id"]: f"{row['artist']}: {row['title']}".strip(": ") for row in csv.DictReader(file)}
    for path in sorted(directory.glob("cqt_*.npz")):
        with np.load(path) as stored:
            for name in stored.files:
                clip = stored[name] / np.float32(2) - np.float32(TOP_DB)
                yield titles.get(name.replace("|", "/")) or name, clip


def milliseconds(cqt: np.ndarray, repeats: int = 9) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        acoustic_embedding(cqt)
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))


PAGE = """# The same recording in another encoding

Written by `python bench/identity.py`. The acoustic identity of a track in the [catalogue](batch.md) finds the same
recording in another encoding. The hash of its sound (`tracks.payload`) finds only copies of the same encoding.

```sh
ccmusic batch duplicates ~/labels
```

* Two recordings that are taken for one cost more than a duplicate that is not found, so the limits are far below the
  distances of different recordings. Every member of a group is that near to its first one.
* What is shorter than 10 s, hardly changes (a tone, a loop) or is no music has no embedding and is in no group.
* A remaster, or a version with one changed word or a faint added voice, may be too near to tell. Another performance,
  another arrangement or another key is not.

## How it is measured

The acoustic embedding (`src/ccmusic/inference/acoustic_identity.py`) has two
parts, the pitch profile and the movement. Two tracks are taken for one recording if the profiles differ by at most
{profile}, the movements by at most {movement} and the lengths by at most {apart} s. An embedding has 512 bytes, and
takes {ms:.1f} ms for a track of four minutes, beside the spectrogram.

## Encoded again

The first {seconds} s of {n} recordings as WAV of 16 bits, against the same in another encoding.

{encodings}

## Other versions of a recording

The same {seconds} s, changed. Few of them should be taken for one recording; two of different length never are.

{versions}

## Different recordings

All pairs of windows of all recordings, half a window apart, so of the same recording too; and of {n_clips} clips by
other artists ({n_without} more have no embedding). The last columns are the nearest, the 10th and the 100th pair of the
others: how many times the limit the larger of both distances is.

| | windows | pairs | taken for one | nearest of the others | 10th | 100th |
|---|---|---|---|---|---|---|
{different}

Those that are taken for one, to be looked at: the same song in two files, or in two collections, is right.

{same}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--audio", type=Path, nargs="+", required=True, help="directories of recordings")
    parser.add_argument("--data", type=Path, help="directory of stored spectrograms")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--limit", type=int, help="only so many recordings, for a trial")
    parser.add_argument("--write", type=Path, help="the page to write")
    arguments = parser.parse_args()
    paths = sorted(path for directory in arguments.audio for path in directory.iterdir() if path.suffix in SUFFIXES)
    audios = []
    for path in paths[: arguments.limit]:
        audio = read(path)
        audios.append((path.name, Audio(audio.samples[: arguments.seconds * audio.rate].copy(), audio.rate)))
    encodings = encoding_rows(audios)
    versions = version_rows([decode(audio.wav(), DecodeLimits()).waveform for _, audio in audios])
    spectrograms = {path.name: spectrogram(path)[0] for path in paths[: arguments.limit]}
    groups = {f"{seconds} s": windows(spectrograms, seconds) for seconds in WINDOW_SECONDS}
    clips = list(stored_clips(arguments.data)) if arguments.data else []
    found = [(name, acoustic_embedding(clip)) for name, clip in clips]
    kept = [(name, embedding) for name, embedding in found if embedding is not None]
    if kept:
        groups["clips of 30 s"] = [name for name, _ in kept], [embedding for _, embedding in kept]
    different, same = [], []
    for group, (names, embeddings) in groups.items():
        pairs = Pairs.of(embeddings)
        different.append(pairs.row(group))
        same += [f"* {group}: {names[one]} and {names[other]}" for one, other in pairs.same]
    four_minutes = np.resize(max(spectrograms.values(), key=np.size).T, (round(240 * FRAMES_PER_SECOND), 84)).T.copy()
    page = PAGE.format(
        profile=MAX_PROFILE_DISTANCE,
        movement=MAX_MOVEMENT_DISTANCE,
        apart=MAX_SECONDS_APART,
        ms=milliseconds(four_minutes),
        seconds=arguments.seconds,
        n=len(audios),
        encodings="\n".join([TABLE_HEAD, *encodings]),
        versions="\n".join([TABLE_HEAD, *versions]),
        n_clips=len(kept),
        n_without=len(found) - len(kept),
        different="\n".join(different),
        same="\n".join(same),
    )
    print(page)
    if arguments.write:
        arguments.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
