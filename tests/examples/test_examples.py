"""The example clips: present, small, decodable, loud enough, and the music they claim to be."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ENTRIES = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))
FILES = [entry["file"] for entry in ENTRIES]

CANON_TEMPO = 84.0
GROUND = ("D", "A", "B", "F#", "G", "D", "G", "A")
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def clip(file: str) -> tuple[np.ndarray, int]:
    """Waveform [shape=(n, 2), dtype=float64] and sample rate of one example."""
    return soundfile.read(EXAMPLES / file, always_2d=True)


def level_db(waveform: np.ndarray) -> float:
    """RMS level in dB relative to full scale."""
    return float(10 * np.log10(np.mean(waveform**2) + 1e-12))


def power_at(waveform: np.ndarray, sample_rate: int, frequency: float) -> float:
    """Power of one frequency under a Hann window: one bin of a Fourier transform, placed freely (Goertzel)."""
    time = np.arange(len(waveform)) / sample_rate
    return float(abs(np.sum(waveform * np.hanning(len(waveform)) * np.exp(-2j * np.pi * frequency * time))) ** 2)


def pitch_powers(waveform: np.ndarray, sample_rate: int, pitches: range) -> np.ndarray:
    """Power at the fundamentals of some MIDI pitches [shape=(len(pitches),)]."""
    return np.array([power_at(waveform, sample_rate, 440.0 * 2 ** ((pitch - 69) / 12)) for pitch in pitches])


def canon_notes(turn: int) -> Iterator[tuple[np.ndarray, int]]:
    """The eight quarter notes of one turn of the Canon's ground: mono waveform and sample rate."""
    waveform, sample_rate = clip("pachelbel_canon.ogg")
    beat = 60.0 / CANON_TEMPO * sample_rate
    for index in range(turn * len(GROUND), (turn + 1) * len(GROUND)):
        # The first sixth of a note still rings with the note before it.
        yield waveform[round((index + 0.17) * beat) : round((index + 0.98) * beat)].mean(axis=1), sample_rate


def test_every_clip_is_listed_once_with_its_titles():
    assert sorted(FILES) == sorted(path.name for path in EXAMPLES.glob("*.ogg"))
    assert len(FILES) >= 8
    for entry in ENTRIES:
        assert sorted(entry) == ["expected_level2", "file", "title_en", "title_zh"]
        assert entry["title_en"].isascii()
        assert any("\u4e00" <= letter <= "\u9fff" for letter in entry["title_zh"])
    assert {entry["expected_level2"] for entry in ENTRIES} == {"Classic", "Non_classic"}


def test_the_clips_stay_small():
    sizes = {file: (EXAMPLES / file).stat().st_size for file in FILES}
    assert max(sizes.values()) <= 400_000, sizes
    assert sum(sizes.values()) <= 3_000_000, sizes


@pytest.mark.parametrize("file", FILES)
def test_a_clip_decodes_and_is_neither_clipped_nor_silent(file):
    waveform, sample_rate = clip(file)
    assert sample_rate == 44100
    assert 15.0 <= len(waveform) / sample_rate <= 35.0
    assert np.abs(waveform).max() < 1.0
    assert level_db(waveform) > -26.0
    seconds = [
        waveform[begin : begin + sample_rate] for begin in range(0, len(waveform) - sample_rate, sample_rate // 4)
    ]
    assert min(level_db(second) for second in seconds) > -50.0


@pytest.mark.parametrize("turn", range(5))
def test_the_canon_repeats_its_ground_bass(turn):
    # The cello's register, C2 to B2 and the D3 above; a pitch class, so that the octave does not matter.
    register = range(36, 51)
    heard = [register[pitch_powers(*note, register).argmax()] % 12 for note in canon_notes(turn)]
    assert tuple(PITCH_CLASSES[number] for number in heard) == GROUND


def test_the_first_violin_enters_with_the_theme():
    # What the second turn adds to the first, from A4 to G5: the bass and its overtones are the same in both.
    register = range(69, 80)
    added = [
        pitch_powers(*second, register) - pitch_powers(*first, register)
        for first, second in zip(canon_notes(0), canon_notes(1), strict=True)
    ]
    assert [register[power.argmax()] for power in added] == [
        78,
        76,
        74,
        73,
        71,
        69,
        71,
        73,
    ]  # F#5 E5 D5 C#5 B4 A4 B4 C#5


def test_the_clips_match_the_committed_scores(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import render

    assert render.index() == (EXAMPLES / "examples.json").read_text(encoding="utf-8")
    assert render.checksums() == (EXAMPLES / "midi.sha256").read_text(encoding="utf-8")
