"""Measure how far the answer depends on what does not change the music: level, codec, silence, pitch.

::

    python bench/robustness.py --data DATA --audio DIR ... [--write docs/robustness.md]

Half a minute of each recording is changed in every way of `CHANGES`, and classified again. Of the training clips only
the spectrograms are stored, so few changes are possible there.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from ccmusic.classifier import Classifier
from ccmusic.features.cqt import FRAMES_PER_SECOND, HOP_LENGTH
from ccmusic.features.crops import TOP_DB
from ccmusic.inference.aggregate import analysed_seconds, track_probabilities, window_probabilities
from ccmusic.inference.loaded_network import LoadedNetwork
from ccmusic.inference.music_parts import music_parts, place_windows
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.store import locate

SECONDS = 30
SEMITONE = 2.0 ** (1 / 12)
CLIPS_OF_SOURCE = 60
N_SONGS = 4
SILENCES = (0, 1, 2, 5, 10, 30, 60, 120, 300)


@dataclass(frozen=True)
class Audio:
    """Samples [shape=(n, channels), dtype=float32] at a rate in Hz."""

    samples: np.ndarray
    rate: int

    def wav(self) -> bytes:
        buffer = io.BytesIO()
        soundfile.write(buffer, np.clip(self.samples, -1, 1), self.rate, format="WAV", subtype="PCM_16")
        return buffer.getvalue()

    def at(self, rate: int) -> Audio:
        return Audio(soxr.resample(self.samples, self.rate, rate), rate)

    def times(self, factor: float) -> Audio:
        return Audio(self.samples * np.float32(factor), self.rate)

    def after(self, seconds: float) -> Audio:
        lead = np.zeros((round(seconds * self.rate), self.samples.shape[1]), np.float32)
        return Audio(np.concatenate([lead, self.samples]), self.rate)

    def without_first(self, seconds: float) -> Audio:
        return Audio(self.samples[round(seconds * self.rate) :], self.rate)

    def played(self, factor: float) -> Audio:
        """Faster by a factor, and higher by as much."""
        return Audio(soxr.resample(self.samples, self.rate, self.rate / factor), self.rate)

    def with_right(self, sign: float) -> Audio:
        samples = self.samples if self.samples.shape[1] == 2 else np.repeat(self.samples[:, :1], 2, axis=1)
        return Audio(samples * np.array([1.0, sign], np.float32), self.rate)

    def encoded(self, container: str, codec: str, bits_per_second: int, rate: int = 44100) -> bytes:
        audio = self.with_right(1.0).at(rate)
        file = io.BytesIO()
        with av.open(file, "w", format=container) as media:
            stream = media.add_stream(codec, rate=rate, layout="stereo")
            stream.bit_rate = bits_per_second
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio.samples.T), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = rate, 0
            media.mux(stream.encode(frame))
            media.mux(stream.encode(None))
        return file.getvalue()


CHANGES: dict[str, Callable[[Audio], bytes]] = {
    "the first 0.5 s cut off, for comparison": lambda audio: audio.without_first(0.5).wav(),
    "level -20 dB": lambda audio: audio.times(0.1).wav(),
    "level -40 dB": lambda audio: audio.times(0.01).wav(),
    "level +6 dB, clipped": lambda audio: audio.times(2.0).wav(),
    "MP3, 128 kbit/s": lambda audio: audio.encoded("mp3", "libmp3lame", 128_000),
    "MP3, 48 kbit/s": lambda audio: audio.encoded("mp3", "libmp3lame", 48_000),
    "AAC, 96 kbit/s": lambda audio: audio.encoded("adts", "aac", 96_000),
    "AAC, 32 kbit/s": lambda audio: audio.encoded("adts", "aac", 32_000),
    "Opus, 64 kbit/s": lambda audio: audio.encoded("ogg", "libopus", 64_000, 48000),
    "Opus, 24 kbit/s": lambda audio: audio.encoded("ogg", "libopus", 24_000, 48000),
    "sample rate 48 kHz": lambda audio: audio.at(48000).wav(),
    "sample rate 16 kHz": lambda audio: audio.at(16000).wav(),
    "sample rate 11,025 Hz": lambda audio: audio.at(11025).wav(),
    "2 s of silence in front": lambda audio: audio.after(2.0).wav(),
    "0.5 s of silence in front": lambda audio: audio.after(0.5).wav(),
    "right channel inverted": lambda audio: audio.with_right(-1.0).wav(),
    "right channel silent": lambda audio: audio.with_right(0.0).wav(),
    "a semitone higher and faster": lambda audio: audio.played(SEMITONE).wav(),
    "a semitone lower and slower": lambda audio: audio.played(1 / SEMITONE).wav(),
}


def shifted(cqt_db: np.ndarray, bins: int) -> np.ndarray:
    rows = np.clip(np.arange(len(cqt_db)) - bins, 0, len(cqt_db) - 1)
    return cqt_db[rows]


def after_silence(cqt_db: np.ndarray, seconds: float) -> np.ndarray:
    lead = np.full((len(cqt_db), round(seconds * FRAMES_PER_SECOND)), -TOP_DB, np.float32)
    return np.concatenate([lead, cqt_db], axis=1)


CHANGES_OF_SPECTROGRAMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the first 0.5 s cut off, for comparison": lambda cqt_db: cqt_db[:, round(FRAMES_PER_SECOND / 2) :],
    "a semitone higher": lambda cqt_db: shifted(cqt_db, 1),
    "a semitone lower": lambda cqt_db: shifted(cqt_db, -1),
    "2 s of silence in front": lambda cqt_db: after_silence(cqt_db, 2.0),
    "noise floor at -60 dB": lambda cqt_db: np.maximum(cqt_db, np.float32(-60.0)),
    "nothing above 2,100 Hz": lambda cqt_db: np.where(np.arange(84)[:, np.newaxis] < 72, cqt_db, np.float32(-TOP_DB)),
}


@dataclass(frozen=True)
class Row:
    """A change, and the answers before and after it, of each recording [shape=(recordings, genres)]."""

    change: str
    before: np.ndarray
    after: np.ndarray

    def markdown(self) -> str:
        same = np.mean(self.before.argmax(axis=1) == self.after.argmax(axis=1))
        variation = 0.5 * np.abs(self.before - self.after).sum(axis=1)
        return f"| {self.change} | {len(self.before)} | {same:.0%} | {variation.mean():.3f} | {variation.max():.3f} |"


TABLE_HEAD = """| change | recordings | same genre | mean total variation | largest |
|---|---|---|---|---|"""


def recordings(directories: list[Path], seconds: int) -> Iterator[tuple[str, Audio]]:
    for path in sorted(path for directory in directories for path in directory.iterdir()):
        try:
            with soundfile.SoundFile(path) as file:
                samples = file.read(seconds * file.samplerate, dtype="float32", always_2d=True)
        except soundfile.SoundFileError:  # a README, or a format of FFmpeg
            continue
        yield path.stem, Audio(samples[:, :2], file.samplerate)


def audio_rows(classifier: Classifier, directories: list[Path]) -> list[Row]:
    before, after = [], {change: [] for change in CHANGES}
    for name, audio in recordings(directories, SECONDS):
        print(name, flush=True)
        before.append(classifier.classify(audio.wav()).leaves)
        for change, change_of in CHANGES.items():
            after[change].append(classifier.classify(change_of(audio)).leaves)
    return [Row(change, np.array(before), np.array(answers)) for change, answers in after.items()]


def answer_to(network: LoadedNetwork, cqt_db: np.ndarray) -> np.ndarray:
    """The pipeline from the spectrogram on [shape=(genres,)]."""
    seconds = cqt_db.shape[1] / FRAMES_PER_SECOND
    loud = np.ones((cqt_db.shape[1] - 1) * HOP_LENGTH, np.float32)  # only the spectrogram tells silence
    parts = music_parts(cqt_db, loud)
    places, weights = place_windows(parts, lambda n, count: network.front_end.places(n, seconds, count), None)
    logits = network.logits([cqt_db[:, start:end] for start, end in places])[0]
    length = analysed_seconds(sum(end - start for start, end in parts) / FRAMES_PER_SECOND, len(places), network.card)
    taxonomy = network.card.taxonomies[0]
    windows = window_probabilities(logits, length, network.card)
    return track_probabilities(windows, taxonomy, weights)[taxonomy.level()]


def stored_clips(directory: Path) -> list[np.ndarray]:
    """Some spectrograms of each source [shape=(84, frames), dtype=float32]."""
    clips = []
    for path in sorted(directory.glob("cqt_*.npz")):
        with np.load(path) as stored:
            names = np.random.default_rng(1).permutation(stored.files)[:CLIPS_OF_SOURCE]
            clips += [stored[name] / np.float32(2) - np.float32(TOP_DB) for name in names]
    return clips


def clip_rows(network: LoadedNetwork, clips: list[np.ndarray]) -> list[Row]:
    before = np.array([answer_to(network, clip) for clip in clips])
    rows = []
    for change, change_of in CHANGES_OF_SPECTROGRAMS.items():
        print(change, flush=True)
        rows.append(Row(change, before, np.array([answer_to(network, change_of(clip)) for clip in clips])))
    return rows


def zeros(n_samples: int) -> np.ndarray:
    return np.zeros((n_samples, 2), np.float32)


def dither(n_samples: int) -> np.ndarray:
    """Triangular, as steps of 16 bits."""
    generator = np.random.default_rng(1)
    return (np.round(generator.triangular(-1, 0, 1, (n_samples, 2)) * 2) / 2**15).astype(np.float32)


def silence_table(classifier: Classifier, directories: list[Path]) -> str:
    """How the probability of a song's genre moves when silence is appended."""
    lines = [
        "| song | appended | genre | " + " | ".join(f"{seconds} s" for seconds in SILENCES) + " | largest change |",
        "|" + "---|" * (len(SILENCES) + 4),
    ]
    songs = list(recordings(directories, SECONDS))
    for name, audio in songs[:: max(1, len(songs) // N_SONGS)][:N_SONGS]:
        stereo = audio.with_right(1.0)
        for kind, quiet in (("zeros", zeros), ("dither", dither)):
            answers = []
            for seconds in SILENCES:
                samples = np.concatenate([stereo.samples, quiet(seconds * audio.rate)])
                answers.append(classifier.classify(Audio(samples, audio.rate).wav()))
            genre = answers[0].predictions()[0].genre
            place = int(answers[0].leaves.argmax())
            values = [float(answer.leaves[place]) for answer in answers]
            change = max(float(np.abs(answer.leaves - answers[0].leaves).max()) for answer in answers)
            marks = [
                f"{p:.3f}" + ("" if a.leaves.argmax() == place else " (other genre)")
                for p, a in zip(values, answers, strict=True)
            ]
            lines.append(f"| {name} | {kind} | {genre} | " + " | ".join(marks) + f" | {change:.3f} |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


PAGE = """# Robustness

Written by `python bench/robustness.py`. The same music should get the same genre, whatever its level, codec or
sample rate is. Total variation is half the sum of the differences of the 16 probabilities: 0 is the same answer, 1 is
an answer without a common genre. The embedded model, version {version}.

## Recordings

The first {seconds} s of each recording, as WAV of 16 bits, against the same with one change.

{audio}

* Level, silence, inverted and silent channels are matters of the pipeline: it uses decibels relative to the maximum,
  has no windows in silence, and mixes channels so that they do not cancel
  ([architecture](architecture.md#decisions-and-their-reasons)).
* Codecs and sample rates change the signal in the range of the transform, 33 to 4,186 Hz, and a semitone moves it by
  one bin. There the network is what differs; another network is not part of this measurement.
* An inverted channel of true stereo cannot be detected in bands where the channels are hardly correlated. There the mix
  is the difference of the channels instead of their sum.

## Training clips

{clips} clips, of which only the spectrograms are known. The network was trained with these clips, so other music is
likely to change more.

{spectrograms}

## Silence after the song

{songs} songs of {song_seconds} s with silence appended: the probability of the genre that the song alone gets.

{silence}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="directory of stored features")
    parser.add_argument("--audio", type=Path, nargs="+", required=True, help="directories of recordings")
    parser.add_argument("--write", type=Path, help="the page to write")
    arguments = parser.parse_args()
    classifier = Classifier(threads=1)
    silence = silence_table(classifier, arguments.audio)
    audio = audio_rows(classifier, arguments.audio)
    clips = stored_clips(arguments.data)
    spectrograms = clip_rows(Pipeline.load(locate("embedded")).network, clips)
    page = PAGE.format(
        version=classifier.model.version,
        seconds=SECONDS,
        audio="\n".join([TABLE_HEAD, *(row.markdown() for row in audio)]),
        clips=len(clips),
        spectrograms="\n".join([TABLE_HEAD, *(row.markdown() for row in spectrograms)]),
        songs=N_SONGS,
        song_seconds=SECONDS,
        silence=silence,
    )
    print(page)
    if arguments.write:
        arguments.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
