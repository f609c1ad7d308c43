"""Four public-domain openings: Pachelbel, Bach, Beethoven and Mozart."""

from scores.notation import Note, Part, Piece, grid, line, rhythm

# General MIDI programs, numbered from zero.
PIANO, HARPSICHORD, VIOLIN, VIOLA, CELLO, CONTRABASS = 0, 6, 40, 41, 42, 43
TIMPANI, STRINGS, TRUMPET, TROMBONE, HORN = 47, 48, 56, 57, 60
OBOE, BASSOON, CLARINET, FLUTE = 68, 70, 71, 73
LOW_DRUM, HIGH_DRUM = 45, 50  # the timpani's A2 and D3


def pachelbel_canon() -> Piece:
    """Canon a 3 con suo basso: five turns of the ground, each violin two bars after the last."""
    ground = "D3:1 A2 B2 F#2 | G2 D2 G2 A2"
    theme = "F#5:1 E5 D5 C#5 | B4 A4 B4 C#5 |"
    second = "D5:1 C#5 B4 A4 | G4 F#4 G4 E4 |"
    third = "D4:.5 F#4 A4 G4 F#4 D4 F#4 E4 | D4 B3 D4 A4 G4 B4 A4 G4 |"
    fourth = "F#4:.5 D4 E4 C#5 D5 F#5 A5 A4 | B4 G4 A4 F#4 D4 D5 D5:.75 C#5:.25 |"
    # The voices stop together on the first chord of the sixth turn: each holds its next phrase's first note.
    entries = (
        (8, theme + second + third + fourth + "D5:3"),
        (16, theme + second + third + "F#4:3"),
        (24, theme + second + "D4:3"),
    )
    breath = [
        (0.0, 92),
        *((8.0 * turn + at, value) for turn in range(1, 5) for at, value in ((0.0, 94), (3.5, 112), (7.5, 98))),
    ]
    breath += [(40.0, 112), (43.0, 70)]
    hall = dict(reverb=70, swell=breath)
    parts = []
    for seat, ((start, text), pan) in enumerate(zip(entries, (34, 64, 94), strict=True), 1):
        # A solo violin in front of a soft section: the voice stays clear, the tone is many players'.
        solo, section = line(text, start, 80, legato=1.0), line(text, start, 74, legato=1.02)
        parts.append(Part(f"Violin {seat}", VIOLIN, solo, pan=pan, volume=104, timing_seconds=0.010, **hall))
        parts.append(Part(f"Violins {seat}", STRINGS, section, pan=pan, volume=120, timing_seconds=0.014, **hall))
    bass = line(" ".join([ground] * 5) + " D3:3", velocity=88, legato=0.97)
    chords = "D4+F#4+A4 C#4+E4+A4 D4+F#4+B4 C#4+F#4+A4 B3+D4+G4 A3+D4+F#4 B3+D4+G4 C#4+E4+A4"
    continuo = line(" ".join([chords] * 5) + " D4+F#4+A4:3", velocity=52)
    parts += [
        Part("Cello", CELLO, bass, pan=64, volume=88, timing_seconds=0.010, **hall),
        # A violone at the cello's pitch: without it the soundfont's F#2 has almost no fundamental.
        Part("Violone", CONTRABASS, bass, pan=80, volume=104, timing_seconds=0.010, **hall),
        Part("Harpsichord", HARPSICHORD, continuo, pan=52, volume=48, reverb=60, timing_seconds=0.008),
    ]
    return Piece(
        "pachelbel_canon.ogg",
        "Pachelbel: Canon in D, for strings",
        "帕赫贝尔：D 大调卡农（弦乐）",
        "Classic",
        84,
        43,
        parts,
        seed=1653,
        tail_seconds=0.3,
    )


def bach_prelude() -> Piece:
    """Prelude in C major, BWV 846: bars 1 to 11 and a closing chord."""
    bars = """
        C4 E4 G4 C5 E5 | C4 D4 A4 D5 F5 | B3 D4 G4 D5 F5 | C4 E4 G4 C5 E5 |
        C4 E4 A4 E5 A5 | C4 D4 F#4 A4 D5 | B3 D4 G4 D5 G5 | B3 C4 E4 G4 C5 |
        A3 C4 E4 G4 C5 | D3 A3 D4 F#4 C5 | G3 B3 D4 G4 B4"""
    notes: list[Note] = []
    for bar, text in enumerate(bars.split("|")):
        bass, tenor, *upper = text.split()
        for half in (0, 2):
            at = 4.0 * bar + half
            force = 66 + (6 if half == 0 else 0) - 2 * abs(bar - 5)
            notes += line(f"{bass}:2", at, force + 4)
            notes += line(f"{tenor}:1.75", at + 0.25, force - 2)
            notes += line(" ".join(["-:.5", *(f"{name}:.25" for name in upper * 2)]), at, force, legato=1.6)
    notes += line("G2+G3+D4+G4+B4:4", 44, 58)
    return Piece(
        "bach_prelude_c.ogg",
        "Bach: Prelude in C major, BWV 846, for piano",
        "巴赫：C 大调前奏曲 BWV 846（钢琴）",
        "Classic",
        96,
        46,
        [Part("Piano", PIANO, notes, volume=110, reverb=50, timing_seconds=0.008, touch=3.5)],
        seed=1722,
        tail_seconds=0.8,
    )


def beethoven_ode() -> Piece:
    """The hymn of the Ninth Symphony's finale: strings first, then the whole orchestra."""
    first = "F#4:1 F#4 G4 A4 | A4 G4 F#4 E4 | D4 D4 E4 F#4 |"
    half_close, full_close = "F#4:1.5 E4:.5 E4:2 |", "E4:1.5 D4:.5 D4:2 |"
    middle = """E4:1 E4 F#4 D4 | E4 F#4:.5 G4 F#4:1 D4 | E4 F#4:.5 G4 F#4:1 E4 |
                D4 E4 A3 F#4:2 | F#4:1 G4 A4 | A4 G4 F#4 E4 | D4 D4 E4 F#4 |"""
    quiet, loud = first + half_close + first + full_close, middle + full_close + "D4:4"
    melody = quiet + loud
    bass_first = "D3:1 D3 E3 F#3 | F#3 E3 D3 A2 | B2 G2 A2 D3 |"
    bass_quiet = bass_first + "A2:2 A2 |" + bass_first + "A2:2 D3 |"
    bass_loud = "A2:1 C#3 D3 F#2 | A2 A2 D3 F#2 | A2 A2 B2 G#2 | B2 E3 A2 D3 |" + bass_first + "A2:1 A2 D3 D3 | D3:4"
    harmony_first = ["D D A D", "D A D A", "B G A D"]
    harmony = [
        *harmony_first,
        "D D A A",
        *harmony_first,
        "A A D D",
        "A A D D",
        "A A D D",
        "A A B E",
        "B E A D",
        *harmony_first,
        "A A D D",
    ]
    voicing = {"D": "F#3+A3+D4", "A": "E3+A3+C#4", "B": "F#3+B3+D4", "G": "G3+B3+D4", "E": "E3+G#3+D4"}
    chords = [voicing[name] for bar in harmony for name in bar.split()]
    tutti = 4.0 * 8
    grow = [(0.0, 104), (16.0, 110), (31.0, 118), (32.0, 122)]
    brass = rhythm(chords[32:], "x", tutti, step=1.0) + line("D3+F#3+A3+D4!:4", 64, 104)
    trumpets = line(
        "A4:1 A4 D4 D4 | A4 A4 D4 D4 | A4 A4 D4 -  | -:2 A4:1 A4 |"
        "D4 D4 A4 D4 | D4 A4 D4 A4 | D4 D4 A4 D4 | A4:1.5 A4:.5 D4:2 | D4+D5!:4",
        tutti,
        96,
        legato=0.8,
    )
    rolls = grid({LOW_DRUM: "x.s.x..."}, tutti, step=0.5, bars=7)
    rolls += line("A2:1 A2 D3:2", 60, 104)
    rolls += [Note(64 + index / 8, 0.12, HIGH_DRUM, 84 + index) for index in range(28)]
    bright = dict(swell=grow, timing_seconds=0.009)
    parts = [
        Part("Violins I", STRINGS, line(melody, shift=12, legato=1.0), pan=36, volume=127, **bright),
        Part("Violins II", STRINGS, line(melody, velocity=78, legato=1.0), pan=48, volume=112, **bright),
        Part(
            "Violas",
            STRINGS,
            rhythm(chords[:32], "o", step=1.0, hold=0.98)
            + rhythm(chords[32:], "oo", tutti, step=0.5)
            + line("F#3+A3+D4:4", 64),
            pan=74,
            volume=80,
            **bright,
        ),
        Part("Cellos", CELLO, line(bass_quiet + bass_loud, velocity=90), pan=88, volume=84, **bright),
        Part("Basses", CONTRABASS, line(bass_quiet + bass_loud, velocity=90, shift=-12), pan=96, volume=92, **bright),
        Part(
            "Bassoon", BASSOON, line(quiet, 0, 70, shift=-12) + line(bass_loud, tutti, 84), pan=70, volume=62, **bright
        ),
        Part(
            "Clarinet",
            CLARINET,
            line(quiet[len(first + half_close) :], 16, 66) + line(loud, tutti, 84),
            pan=60,
            volume=80,
            **bright,
        ),
        Part("Oboe", OBOE, line(loud, tutti, 86, shift=12), pan=54, volume=80, **bright),
        Part("Flute", FLUTE, line(loud, tutti, 92, shift=24), pan=50, volume=90, **bright),
        Part("Horns", HORN, brass, pan=44, volume=88, reverb=60, **bright),
        Part("Trumpets", TRUMPET, trumpets, pan=80, volume=84, reverb=60, **bright),
        Part("Trombones", TROMBONE, line(bass_loud, tutti, 96), pan=90, volume=86, reverb=60, **bright),
        Part("Timpani", TIMPANI, rolls, pan=60, volume=100, reverb=60, timing_seconds=0.004),
    ]
    return Piece(
        "beethoven_ode_to_joy.ogg",
        "Beethoven: Ode to Joy, for orchestra",
        "贝多芬：欢乐颂（管弦乐）",
        "Classic",
        156,
        68,
        parts,
        seed=1824,
        tail_seconds=0.9,
    )


def mozart_nachtmusik() -> Piece:
    """Eine kleine Nachtmusik, K. 525, first movement: bars 1 to 10, then 1 to 4 and a close."""
    call = """G5:1 -:.5 D5 G5:1 -:.5 D5 | G5 D5 G5 B5 D6:1 - |
              C6 -:.5 A5 C6:1 -:.5 A5 | C6 A5 F#5 A5 D5:1 - |"""
    answer = """G5:.5 - G5:1.5 B5:.5 A5 G5 | G5 F#5 F#5:1.5 A5:.5 C6 F#5 |
                A5 G5 G5:1.5 B5:.5 A5 G5 | G5 F#5 F#5:1.5 A5:.5 C6 F#5 |
                G5 G5 G5:.25 F#5 E5 F#5 G5:.5 G5 B5:.25 A5 G5 A5 |
                B5:.5 B5 D6:.25 C6 B5 C6 D6:1 - |"""
    close = "G5+B4+D4!:1 - G5+B4+D4:1 -"
    second = rhythm(["B4", "C5", "B4", "C5", "B4"], "osss" * 4, 16, step=0.25, hold=0.7)
    second += line("G5:.5 G5 B5:.25 A5 G5 A5 B5:1 -", 36, 76)
    viola = rhythm(["D4", "D4", "D4", "D4", "D4"], "oxox oxox", 16, hold=0.7)
    viola += line("G4:.5 G4 G4:.25 G4 G4 G4 G4:1 -", 36, 76)
    cello = rhythm(["G2"] * 5, "xooo xooo", 16, hold=0.7) + line("G2:.5 G2 G2 G2 G2:1 -", 36, 80)

    def twice(shift: int, velocity: int) -> list[Note]:
        """The unison call at both its places, at this player's octave."""
        return [note for at in (0, 40) for note in line(call, at, velocity, 0.8, shift)]

    swell = [(0.0, 118), (16.0, 118), (16.1, 110), (32.0, 110), (39.0, 118)]
    common = dict(reverb=50, swell=swell, timing_seconds=0.007)
    parts = [
        Part(
            "Violin I",
            VIOLIN,
            twice(0, 92) + line(answer, 16, 84, 0.9) + line(close, 56, 80, 0.8),
            pan=36,
            volume=104,
            **common,
        ),
        Part(
            "Violin II",
            VIOLIN,
            twice(-12, 86) + second + line("B4+D4!:1 - B4+D4 -", 56, 76, 0.8),
            pan=54,
            volume=92,
            **common,
        ),
        Part(
            "Viola",
            VIOLA,
            twice(-12, 86) + viola + line("G4+D4!:1 - G4+D4 -", 56, 76, 0.8),
            pan=76,
            volume=96,
            **common,
        ),
        Part(
            "Cello",
            CELLO,
            twice(-24, 92) + cello + line("G2+G3!:1 - G2+G3 -", 56, 80, 0.8),
            pan=92,
            volume=108,
            **common,
        ),
    ]
    return Piece(
        "mozart_nachtmusik.ogg",
        "Mozart: Eine kleine Nachtmusik, for string quartet",
        "莫扎特：G 大调弦乐小夜曲（弦乐四重奏）",
        "Classic",
        132,
        59,
        parts,
        seed=1787,
        tail_seconds=0.9,
    )


CLASSICAL = (pachelbel_canon(), bach_prelude(), beethoven_ode(), mozart_nachtmusik())
