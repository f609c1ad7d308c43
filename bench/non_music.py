"""Measure non-music detection: how often music is flagged, and how often other sounds are.

::

    python bench/non_music.py --data DATA --audio DIR ... [--speech DIR ...] [--write docs/odd-inputs.md]

Non-music sounds are computed (`tests/data/non_music_sounds.py`); espeak-ng makes speech if it is installed. `--data`
has the stored features of the training clips, `--audio` music and `--speech` recorded speech; each directory is a row
of its table. Debian's packages of games have both; asterisk-core-sounds-*-wav has short announcements, which are
concatenated.
`--fit DIR ...`, with directories of speech, fits the weights of the speech score again and prints them.
"""

from __future__ import annotations

import argparse
import runpy
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccmusic.audio.decode import decode
from ccmusic.audio.formats import AUDIO_SUFFIXES
from ccmusic.errors import AudioError
from ccmusic.features.cqt import cqt_db
from ccmusic.inference.non_music import SoundTraits, measure_traits, non_music_kind, speech_numbers
from ccmusic.models.non_music_limits import OUT_OF_REACH, NonMusicLimits
from ccmusic.training.data import load

ROOT = Path(__file__).parents[1]
SAMPLE_RATE = 22050
MUSIC_SECONDS = 30
SPEECH_SECONDS = 15
N_SPEECH = 24
NOISE_DB = -30.0
"""Level of the added noise, relative to the speech."""
MIN_MUSIC_BYTES = 400_000
"""Smaller files of a game are sound effects."""

ENGLISH = (
    "The quick brown fox jumps over the lazy dog. Yesterday the weather was cold and wet, but we went out to the "
    "market all the same, and bought bread, cheese and a few apples."
)
CHINESE = "今天天气很好,我们一起去公园散步吧。路上遇到了很多朋友,大家都非常高兴,一直聊到太阳下山才回家。"
GERMAN = (
    "Gestern war das Wetter schlecht, trotzdem sind wir auf den Markt gegangen und haben Brot, Butter und ein paar "
    "Eier gekauft."
)
VOICES = {
    "en-gb": ENGLISH,
    "en-us+f3": ENGLISH,
    "en-us+m7": ENGLISH,
    "en-gb+croak": ENGLISH,
    "cmn": CHINESE,
    "cmn+f2": CHINESE,
    "de": GERMAN,
    "de+f4": GERMAN,
}


@dataclass(frozen=True)
class Detections:
    """A set of recordings, and the detected kind of each."""

    name: str
    found: list[str | None]

    @property
    def odd(self) -> int:
        return sum(name is not None for name in self.found)

    def row(self) -> str:
        counts = Counter(self.found)
        words = ", ".join(f"{name} {counts[name]}" for name in ("silence", *OUT_OF_REACH) if counts[name])
        return f"| {self.name} | {len(self.found)} | {self.odd} ({self.odd / len(self.found):.1%}) | {words} |"


def detections(name: str, waveforms: Iterator[np.ndarray]) -> Detections:
    return Detections(
        name, [non_music_kind(measure_traits(cqt_db(waveform)), NonMusicLimits()) for waveform in waveforms]
    )


def files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())


def music(directory: Path) -> Iterator[np.ndarray]:
    """Every other half minute of every long file."""
    for path in files(directory):
        if path.stat().st_size < MIN_MUSIC_BYTES and directory.resolve() != ROOT / "examples":
            continue
        waveform = decode(path).waveform
        length = MUSIC_SECONDS * SAMPLE_RATE
        for first in range(0, max(1, len(waveform) - length // 3), 2 * length):
            yield waveform[first : first + length]


def speech(directory: Path) -> Iterator[np.ndarray]:
    """Short announcements in random order, concatenated."""
    paths = [path for path in files(directory) if path.stat().st_size > 8000]
    np.random.default_rng(1).shuffle(paths)  # type: ignore[arg-type]
    parts: list[np.ndarray] = []
    n_given = 0
    for path in paths:
        try:
            parts.append(decode(path).waveform)
        except AudioError:
            continue
        if sum(map(len, parts)) > SPEECH_SECONDS * SAMPLE_RATE:
            yield np.concatenate(parts)
            parts, n_given = [], n_given + 1
        if n_given == N_SPEECH:
            return


def in_noise(waveforms: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(2)
    for waveform in waveforms:
        level = float(np.sqrt(np.mean(waveform**2))) * 10.0 ** (NOISE_DB / 20.0)
        yield (waveform + level * generator.standard_normal(len(waveform))).astype(np.float32)


def spoken() -> Iterator[np.ndarray]:
    with tempfile.TemporaryDirectory() as directory:
        for number, (voice, words) in enumerate(VOICES.items()):
            path = Path(directory) / f"{number}.wav"
            subprocess.run(["espeak-ng", "-v", voice, "-w", str(path), words], check=True)
            yield decode(path).waveform


def name_of(directory: Path) -> str:
    """The last part of a directory's path."""
    return directory.name.removeprefix("x-")


def fit(data: list[SoundTraits], directories: list[Path]) -> None:
    from sklearn.linear_model import LogisticRegression  # imported late: only --fit needs it

    voices = [measure_traits(cqt_db(w)) for d in directories for w in (*speech(d), *in_noise(speech(d)))]
    values = np.array([speech_numbers(of) for of in (*data, *voices)])
    is_speech = np.arange(len(values)) >= len(data)
    model = LogisticRegression(class_weight="balanced", max_iter=2000).fit(values, is_speech)
    print("SPEECH_WEIGHTS", model.coef_[0].round(2).tolist(), "SPEECH_INTERCEPT", round(float(model.intercept_[0]), 2))


def page(options: argparse.Namespace) -> str:
    dataset = load(options.data)
    started = time.perf_counter()
    measured = [measure_traits(dataset.cqt_db(clip)) for clip in range(len(dataset))]
    milliseconds = 1000 * (time.perf_counter() - started) / len(dataset)
    if options.fit:
        fit(measured[::2], options.fit)
    stored = [non_music_kind(of, NonMusicLimits()) for of in measured]
    true_music = [
        *(Detections(f"training clips: {source}", [stored[i] for i in np.flatnonzero(dataset.source == source)])
          for source in sorted(set(dataset.source))),
        *(detections(name_of(directory), music(directory)) for directory in options.audio),
    ]  # fmt: skip
    voices = [detections("espeak-ng", spoken())] if shutil.which("espeak-ng") else []
    for directory in options.speech:
        voices.append(detections(name_of(directory), speech(directory)))
        voices.append(detections(f"{name_of(directory)}, in noise 30 dB below", in_noise(speech(directory))))
    made = runpy.run_path(str(ROOT / "tests" / "data" / "non_music_sounds.py"))
    sounds = {
        name: non_music_kind(measure_traits(cqt_db(made["sound"](name))), NonMusicLimits()) for name in made["SOUNDS"]
    }
    silent = [name for name in sounds if np.abs(made["sound"](name)).max() < 1e-3]
    sounds |= dict.fromkeys(silent, "silence")  # flagged by the waveform's peak
    return PAGE.format(
        n_sounds=len(sounds),
        n_found=sum(found is not None for found in sounds.values()),
        sounds="\n".join(f"| {name} | {made['KINDS'][name]} | {found or ''} |" for name, found in sounds.items()),
        music="\n".join(
            one.row()
            for one in (*true_music, Detections("**all**", [found for one in true_music for found in one.found]))
        ),
        speech="\n".join(voice.row() for voice in voices),
        milliseconds=milliseconds,
    )


PAGE = """# Non-music inputs

Written by `python bench/non_music.py`. A network that was trained on music alone names a genre for any sound: rain, a
dial tone, a talk. `inference/non_music.py` detects such sounds by their constant-Q spectrogram. The answer then has the
flag `uncertain`, and its field `odd` names the kind of sound:

| `odd` | meaning | detected by |
|---|---|---|
| `silence` | nothing above -60 dB of full scale | the waveform's peak |
| `empty` | nothing sustained in the range of the transform, 33 to 4,186 Hz | few frames within 40 dB of the loudest |
| `tone` | a tone, a few tones, a sweep, a signal | power in very few bins at a time |
| `pulses` | clicks, beeps, drums alone | more change from frame to frame than from bin to bin |
| `noise` | hiss, rain, wind, applause | a smooth spectrum with random movement, or one that is always wide |
| `speech` | speech without music | bins with high contrast, a moving centre, no steady pitch |

The rules are pure functions of ten numbers (`SoundTraits`); `models/non_music_limits.py` has the defaults of their
limits; a model card may set others (`odd`). They take {milliseconds:.1f} ms for half a minute on one core of the
machine of this measurement. Recordings under 2 s are not judged; of long ones, one minute is used; models whose
input is another spectrogram than the constant-Q transform have no such rules yet. The response is
still 200, with the flag.

## How often music is flagged as non-music

The limits were chosen with the training clips, `audio`, `examples` and the sounds below; only the other rows are music
that did not influence them. Drum solos, a cappella singing, drones, noise music and rap without accompaniment are
music, but may be flagged.

| music | recordings | flagged | as |
|---|---|---|---|
{music}

## Speech

The score is a logistic regression on four numbers, fitted on half of the training clips and on announcements in
English, Spanish and French (`asterisk-core-sounds-*-wav`, without and with noise). The other rows were not used for
the fit. Speech over music counts as music; speech in a room with echo was not measured.

| speech | recordings | flagged | as |
|---|---|---|---|
{speech}

## {n_sounds} computed sounds

{n_found} of {n_sounds} are flagged. The limits were chosen with these sounds. The second column is a listener's
name for the sound.

| sound | what it is | flagged as |
|---|---|---|
{sounds}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--audio", type=Path, nargs="*", default=[])
    parser.add_argument("--speech", type=Path, nargs="*", default=[])
    parser.add_argument("--fit", type=Path, nargs="*", default=[])
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    text = page(options)
    if options.write is None:
        print(text)
    else:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
