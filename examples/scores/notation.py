"""Notes as text, and notes as a Standard MIDI File.

Times are in quarter notes ("beats") until the last step, where they become ticks.
The performance (small errors of time and touch) comes from one seeded generator per
piece, so the same score gives the same bytes every time.
"""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

TICKS_PER_BEAT = 480
DRUM_CHANNEL = 9
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
STROKES = {"X": 118, "x": 98, "o": 76, "s": 54, "g": 34}


@dataclass(frozen=True)
class Note:
    """One note: start and length in beats, MIDI pitch, velocity 1 to 127."""

    start: float
    length: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Part:
    """One player: a General MIDI program with its seat, its notes and its dynamics.

    ``swell`` is a list of (beat, expression 0 to 127), joined by straight lines.
    """

    name: str
    program: int
    notes: list[Note]
    pan: int = 64
    volume: int = 100
    reverb: int = 40
    drums: bool = False
    swell: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 112)])
    timing_seconds: float = 0.006
    touch: float = 4.0


@dataclass(frozen=True)
class Piece:
    """One clip: its file, its titles, its class and its score.

    ``drive`` is how hard the mix is pushed into a soft limiter (0 leaves it alone);
    ``tail_seconds`` is how long the last notes may ring.
    """

    file: str
    title_en: str
    title_zh: str
    expected_level2: str
    tempo: float
    beats: float
    parts: list[Part]
    seed: int
    drive: float = 0.0
    tail_seconds: float = 1.5


def pitch_number(name: str) -> int:
    """MIDI number of a scientific pitch name: ``A4`` is 69, ``F#5`` 78, ``Bb2`` 46."""
    accidental = name.count("#") - name[1:].count("b")
    octave = int(name.lstrip("ABCDEFG").lstrip("#b"))
    return 12 * (octave + 1) + SEMITONES[name[0]] + accidental


def line(text: str, start: float = 0.0, velocity: int = 84, legato: float = 0.96, shift: int = 0) -> list[Note]:
    """Read a melody: ``F#5:1 E5 -:.5 D4+A4:2 | C5``.

    A name is a pitch, ``+`` stacks a chord, ``-`` rests, ``:beats`` sets the length of this
    and all following entries, ``!`` accents, ``|`` is for the eye. ``shift`` is in semitones.
    """
    notes, now, length = [], start, 1.0
    for token in text.replace("|", " ").split():
        name, _, beats = token.partition(":")
        length = float(beats) if beats else length
        force = velocity + 14 * name.count("!")
        for pitch in name.rstrip("!").split("+"):
            if pitch != "-":
                notes.append(Note(now, length * legato, pitch_number(pitch) + shift, force))
        now += length
    return notes


def grid(
    rows: Mapping[int, str], start: float = 0.0, step: float = 0.25, bars: int = 1, swing: float = 0.0
) -> list[Note]:
    """Read a drum grid: one row of strokes per General MIDI drum, repeated for some bars.

    ``X x o s g`` fall from accent to ghost note, anything else rests. ``swing`` delays
    every second step by that part of a step.
    """
    notes = []
    for drum, row in rows.items():
        strokes = row.replace(" ", "") * bars
        for index, stroke in enumerate(strokes):
            if stroke in STROKES:
                late = swing * step if index % 2 else 0.0
                notes.append(Note(start + index * step + late, step * 0.9, drum, STROKES[stroke]))
    return notes


def rhythm(
    chords: Iterable[str],
    pattern: str,
    start: float = 0.0,
    *,
    step: float = 0.5,
    hold: float = 0.9,
    strum: float = 0.0,
    swing: float = 0.0,
) -> list[Note]:
    """Play each chord for one pattern: strokes as in `grid`, ``_`` holds the last one.

    ``strum`` is the delay in beats from string to string; upper-case and ``x`` strokes fall
    from the low string, the lighter ones rise from the high string and leave out the lowest.
    """
    notes, now = [], start
    pattern = pattern.replace(" ", "")
    for chord in chords:
        pitches = [pitch_number(name) for name in chord.split("+")]
        for index, stroke in enumerate(pattern):
            if stroke not in STROKES:
                continue
            held = len(pattern[index + 1 :]) - len(pattern[index + 1 :].lstrip("_"))
            at = now + index * step + (swing * step if index % 2 else 0.0)
            order = pitches if not strum or stroke in "Xx" else pitches[:0:-1]
            for rank, pitch in enumerate(order):
                delay = rank * strum
                length = max((1 + held) * step * hold - delay, 0.05)
                notes.append(Note(at + delay, length, pitch, STROKES[stroke] - 2 * (rank % 2)))
        now += len(pattern) * step
    return notes


def midi_bytes(piece: Piece) -> bytes:
    """Perform a piece and write it as a format 1 Standard MIDI File.

    The layout is that of the MIDI Association's "Standard MIDI Files 1.0": a header chunk,
    a track with the tempo, one track per part.
    """
    chance = random.Random(piece.seed)
    channels = iter([number for number in range(16) if number != DRUM_CHANNEL])
    tempo = b"\x00\xff\x51\x03" + round(60e6 / piece.tempo).to_bytes(3, "big")
    tracks = [tempo + b"\x00\xff\x2f\x00"]
    for part in piece.parts:
        channel = DRUM_CHANNEL if part.drums else next(channels)
        tracks.append(_track(part, channel, piece, chance))
    header = struct.pack(">4sIHHH", b"MThd", 6, 1, len(tracks), TICKS_PER_BEAT)
    return header + b"".join(struct.pack(">4sI", b"MTrk", len(track)) + track for track in tracks)


def _track(part: Part, channel: int, piece: Piece, chance: random.Random) -> bytes:
    """One part's events in time order, as a MIDI track."""
    events = [(0, 0, bytes([0xC0 | channel, part.program]))]
    for control, value in ((7, part.volume), (10, part.pan), (91, part.reverb)):
        events.append((0, 1, bytes([0xB0 | channel, control, value])))
    for tick, value in _expression(part.swell, piece.beats):
        events.append((tick, 1, bytes([0xB0 | channel, 11, value])))
    for begin, end, pitch, velocity in _performed(part, piece.tempo, chance):
        events.append((begin, 3, bytes([0x90 | channel, pitch, velocity])))
        events.append((end, 2, bytes([0x80 | channel, pitch, 0])))
    events.sort()
    data, now = b"", 0
    for tick, _, message in events:
        data += _variable_length(tick - now) + message
        now = tick
    return data + b"\x00\xff\x2f\x00"


def _performed(part: Part, tempo: float, chance: random.Random) -> list[tuple[int, int, int, int]]:
    """Notes as (begin, end, pitch, velocity) in ticks, with a player's small inaccuracies."""
    spread = part.timing_seconds * tempo / 60
    played = []
    for note in sorted(part.notes, key=lambda note: (note.start, note.pitch)):
        error = max(-2.0, min(2.0, chance.gauss(0, 1))) * spread
        begin = max(0, round((note.start + error) * TICKS_PER_BEAT))
        end = begin + max(20, round(note.length * TICKS_PER_BEAT))
        velocity = round(note.velocity + chance.gauss(0, part.touch))
        played.append((begin, end, note.pitch, max(12, min(127, velocity))))
    # A repeated pitch must end before it starts again, or its note-off stops the second note.
    following: dict[int, int] = {}
    for index in range(len(played) - 1, -1, -1):
        begin, end, pitch, velocity = played[index]
        end = max(begin + 1, min(end, following.get(pitch, end + 2) - 2))
        following[pitch] = begin
        played[index] = (begin, end, pitch, velocity)
    return played


def _expression(swell: list[tuple[float, int]], beats: float) -> Iterable[tuple[int, int]]:
    """Straight lines between the points of a swell, sampled each sixteenth of a beat."""
    last = -1
    points = [*swell, (max(beats, swell[-1][0]) + 1, swell[-1][1])]
    for (begin, low), (end, high) in itertools.pairwise(points):
        steps = max(1, round((end - begin) * 16))
        for step in range(steps):
            value = round(low + (high - low) * step / steps)
            if value != last:
                yield round((begin + step / 16) * TICKS_PER_BEAT), value
                last = value


def _variable_length(number: int) -> bytes:
    """A MIDI variable-length quantity: seven bits a byte, the high bit set on all but the last."""
    data = bytes([number & 0x7F])
    while number := number >> 7:
        data = bytes([0x80 | (number & 0x7F)]) + data
    return data
