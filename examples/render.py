"""Render the example clips: score -> MIDI -> fluidsynth -> Ogg Vorbis.

Needs fluidsynth with the FluidR3 GM soundfont (``apt-get install fluidsynth
fluid-soundfont-gm``), numpy and soundfile. The same scores give the same MIDI bytes;
the audio is the same up to the versions of fluidsynth and of the Vorbis encoder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from scores import PIECES
from scores.notation import Piece, midi_bytes

HERE = Path(__file__).resolve().parent
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
SAMPLE_RATE = 44100
PEAK = 0.84
CEILING = 0.97
FADE_SECONDS = 0.9
# Vorbis quality 0.2, about 90 kbit/s: 30 s stay under 400 KB.
COMPRESSION_LEVEL = 0.8


def synthesise(midi: Path, soundfont: Path, wav: Path) -> np.ndarray:
    """Play a MIDI file through fluidsynth, without a sound card.

    Parameters
    ----------
    midi : Path
        Standard MIDI File to play.
    soundfont : Path
        SoundFont 2 file to play it with.
    wav : Path
        Where fluidsynth may write its 32-bit float samples.

    Returns
    -------
    waveform : np.ndarray [shape=(n, 2), dtype=float32]
        Stereo, full scale 1.0, at `SAMPLE_RATE`.

    Raises
    ------
    RuntimeError
        If fluidsynth fails; its own words are in the message.
    """
    options = {
        "synth.gain": 0.35,
        "synth.polyphony": 512,
        "synth.cpu-cores": 1,
        "synth.chorus.active": 0,
        "synth.reverb.active": 1,
        "synth.reverb.room-size": 0.62,
        "synth.reverb.damp": 0.3,
        "synth.reverb.width": 0.8,
        "synth.reverb.level": 0.7,
        "synth.sample-rate": SAMPLE_RATE,
        "audio.file.name": wav,
        "audio.file.type": "wav",
        "audio.file.format": "float",
    }
    command = ["fluidsynth", "--quiet", "--no-shell", "--no-midi-in", "--fast-render", str(wav)]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    done = subprocess.run([*command, str(soundfont), str(midi)], check=False, capture_output=True, text=True)
    if done.returncode or not wav.exists():
        raise RuntimeError(f"fluidsynth failed ({done.returncode}): {done.stderr.strip()}")
    waveform, _ = soundfile.read(wav, dtype="float32", always_2d=True)
    return waveform


def master(waveform: np.ndarray, piece: Piece) -> np.ndarray:
    """Cut to length, limit softly, fade the end and bring the peak to `PEAK`.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n, 2), dtype=float32]
        The synthesiser's output.
    piece : Piece
        Its length, and how hard the limiter is driven: recorded pop is dense, chamber music not.

    Returns
    -------
    waveform : np.ndarray [shape=(m, 2), dtype=float32]
    """
    seconds = piece.beats * 60 / piece.tempo + piece.tail_seconds
    length = round(seconds * SAMPLE_RATE)
    mixed = np.zeros((length, 2))
    kept = waveform[:length]
    mixed[: len(kept)] = kept
    if piece.drive:
        # Driven relative to the loud passages, so one stray peak does not decide how dense it gets.
        mixed = np.tanh(piece.drive * mixed / np.quantile(np.abs(mixed), 0.999))
    fade = round(FADE_SECONDS * SAMPLE_RATE)
    mixed[-fade:] *= np.cos(np.linspace(0, np.pi / 2, fade))[:, None] ** 2
    return (mixed * (PEAK / np.abs(mixed).max())).astype(np.float32)


def encode(waveform: np.ndarray, path: Path) -> None:
    """Write Ogg Vorbis, again and more quietly while the decoded clip would exceed `CEILING`.

    A lossy encoder may overshoot; what counts is the peak that a listener's decoder meets.
    """
    peak = CEILING
    while peak >= CEILING:
        with soundfile.SoundFile(
            path, "w", SAMPLE_RATE, 2, format="OGG", subtype="VORBIS", compression_level=COMPRESSION_LEVEL
        ) as out:
            # A second at a time: libsndfile's Vorbis writer overflows its stack on one long write.
            for begin in range(0, len(waveform), SAMPLE_RATE):
                out.write(waveform[begin : begin + SAMPLE_RATE])
        peak = np.abs(soundfile.read(path)[0]).max()
        waveform = waveform * np.float32(0.98 * CEILING / peak)


def index() -> str:
    """The list the web page reads, as JSON text."""
    entries = [
        {
            "file": piece.file,
            "title_en": piece.title_en,
            "title_zh": piece.title_zh,
            "expected_level2": piece.expected_level2,
        }
        for piece in PIECES
    ]
    return json.dumps(entries, ensure_ascii=False, indent=2) + "\n"


def checksums() -> str:
    """What the committed clips were rendered from: one line per MIDI file, as ``sha256sum`` prints it."""
    lines = []
    for piece in PIECES:
        name = Path(piece.file).with_suffix(".mid")
        lines.append(f"{hashlib.sha256(midi_bytes(piece)).hexdigest()}  {name}\n")
    return "".join(lines)


def main() -> int:
    """Render all the pieces, or those named; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="files to render, e.g. soul.ogg (default: all)")
    parser.add_argument("--soundfont", type=Path, default=SOUNDFONT)
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the clips")
    parser.add_argument("--midi", action="store_true", help="keep the MIDI files beside the clips")
    options = parser.parse_args()
    unknown = set(options.names) - {piece.file for piece in PIECES}
    if unknown:
        parser.error(f"no such piece: {', '.join(sorted(unknown))}")
    if shutil.which("fluidsynth") is None or not options.soundfont.exists():
        parser.error("needs fluidsynth and a soundfont: apt-get install fluidsynth fluid-soundfont-gm")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for piece in PIECES:
            if options.names and piece.file not in options.names:
                continue
            folder = options.out if options.midi else Path(scratch)
            midi = folder / Path(piece.file).with_suffix(".mid")
            midi.write_bytes(midi_bytes(piece))
            waveform = synthesise(midi, options.soundfont, Path(scratch) / "piece.wav")
            encode(master(waveform, piece), options.out / piece.file)
            size = (options.out / piece.file).stat().st_size
            print(f"{piece.file}: {size / 1000:.0f} KB")
    if not options.names:
        (options.out / "examples.json").write_text(index(), encoding="utf-8")
        (options.out / "midi.sha256").write_text(checksums(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
