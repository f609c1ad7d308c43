"""Four short tracks of our own: dance pop, rock, acoustic pop and soul."""

from scores.notation import Note, Part, Piece, grid, line, rhythm

# General MIDI programs and drums, numbered from zero and as on the General MIDI percussion map.
ELECTRIC_PIANO, ORGAN, STEEL_GUITAR, MUTED_GUITAR, OVERDRIVE, DISTORTION = 4, 16, 25, 28, 29, 30
FINGER_BASS, PICK_BASS, SYNTH_BASS, STRINGS, OOHS = 33, 34, 38, 48, 53
TENOR_SAX, SQUARE_LEAD, SAW_LEAD, POLY_PAD = 66, 80, 81, 90
STANDARD_KIT, POWER_KIT, ELECTRONIC_KIT, BRUSH_KIT = 0, 16, 24, 40
KICK, STICK, SNARE, CLAP, CLOSED_HAT, OPEN_HAT, LOW_TOM, HIGH_TOM = 36, 37, 38, 39, 42, 46, 45, 48
CRASH, RIDE, TAMBOURINE, SHAKER = 49, 51, 54, 82


def dance_pop() -> Piece:
    """Four on the floor at 124: A minor, F, C, G; the pads duck under every kick."""
    chords = ["A3+C4+E4+A4", "A3+C4+F4+A4", "G3+C4+E4+G4", "G3+B3+D4+G4"]
    roots = ["A1", "F1", "C2", "G1"]
    bass = [
        note
        for turn in range(3)
        for bar, root in enumerate(roots)
        for note in line(
            " ".join([f"-:.5 {root}", f"- {root}", f"- {root}", f"{root}!:.25 {root}"]),
            16.0 * turn + 4 * bar,
            104,
            0.85,
        )
    ]
    hook = """E5:.75 E5 D5:.5 C5:.5 D5 E5:1 | F5:.75 F5 E5:.5 C5:.5 A4 C5:1 |
              G5:.75 G5 E5:.5 D5:.5 C5 E5:1 | D5:.75 D5 B4:.5 G4:.5 B4 D5:.5 E5 |"""
    answer = """A5:.75 A5 G5:.5 E5:.5 D5 E5:1 | F5:.75 F5 E5:.5 C5:.5 A4 C5:1 |
                G5:.75 G5 E5:.5 D5:.5 E5 G5:1 | B5:.75 B5 A5:.5 G5:.5 D5 E5:1 | A5:3"""
    arpeggio = [
        note
        for turn in range(1, 3)
        for bar, chord in enumerate(chords)
        for note in line(" ".join(f"{name}:.25" for name in chord.split("+") * 4), 16.0 * turn + 4 * bar, 62, 0.6, 12)
    ]
    floor = {
        KICK: "X... X... X... X...",
        CLAP: ".... x... .... x...",
        OPEN_HAT: "..o. ..o. ..o. ..o.",
        CLOSED_HAT: "s.sg s.sg s.sg s.sg",
    }
    drums = grid(floor, bars=11) + grid({**floor, CLAP: "...x x..x x.x. xxxx"}, 44)
    drums += [Note(at, 4, CRASH, 100) for at in (16.0, 32.0, 48.0)] + [Note(48, 1, KICK, 118)]
    duck = [(0.0, 40)] + [
        point for beat in range(48) for point in ((float(beat), 40), (beat + 0.6, 112), (beat + 0.99, 112))
    ]
    tight = dict(timing_seconds=0.002, touch=3.0)
    parts = [
        Part("Drums", ELECTRONIC_KIT, drums, volume=106, reverb=16, drums=True, **tight),
        Part("Bass", SYNTH_BASS, bass + line("A1:3", 48, 104), volume=98, reverb=4, **tight),
        Part(
            "Pad left",
            POLY_PAD,
            rhythm(chords * 3 + chords[:1], "o_______", hold=0.98),
            pan=24,
            volume=100,
            reverb=60,
            swell=duck,
            **tight,
        ),
        Part(
            "Saw chords",
            SAW_LEAD,
            rhythm(chords * 2, "x..x..x. x..x..x.", 16, step=0.25) + line("A3+C4+E4+A4:3", 48, 80),
            pan=100,
            volume=92,
            reverb=40,
            swell=duck,
            **tight,
        ),
        Part(
            "Saw lead",
            SAW_LEAD,
            line(hook, 16, 96, 0.85) + line(answer, 32, 100, 0.85),
            pan=60,
            volume=108,
            reverb=60,
            **tight,
        ),
        Part("Square", SQUARE_LEAD, arpeggio, pan=84, volume=78, reverb=50, swell=duck, **tight),
    ]
    return Piece(
        "dance_pop.ogg",
        "Dance pop: saw lead, synth bass, four on the floor",
        "流行舞曲：锯齿波主音与合成贝斯",
        "Non_classic",
        124,
        51,
        parts,
        seed=124,
        drive=1.4,
        tail_seconds=1.0,
    )


def rock() -> Piece:
    """Power chords at 144 in E: a verse riff, then a wide chorus with a lead guitar."""
    power = {"E": "E2+B2+E3", "G": "G2+D3+G3", "A": "A2+E3+A3", "C": "C3+G3+C4", "D": "D3+A3+D4", "B": "B2+F#3+B3"}
    riff = [("E", "X.ss X.ss"), ("E", "X.ss"), ("G", "X_X_"), ("A", "X.ss X.ss"), ("C", "X_X_"), ("D", "X_X_")]
    chorus = [
        ("C", "X___x_x_"),
        ("G", "X___x_x_"),
        ("D", "X___x_x_"),
        ("A", "X___x_x_"),
        ("C", "X___x_x_"),
        ("G", "X___x_x_"),
        ("A", "X___x_x_"),
        ("B", "X_x_xxxx"),
    ]

    def played(score: list[tuple[str, str]], start: float, voicing: dict[str, str]) -> list[Note]:
        """The chords one after the other, each with its own strokes in eighths."""
        notes = []
        for root, strokes in score:
            notes += rhythm([voicing[root]], strokes, start)
            start += 0.5 * len(strokes.replace(" ", ""))
        return notes

    chords = played(riff * 2, 0, power) + played(chorus, 32, power) + line("E2+B2+E3:4", 64, 110)
    eighths = [(root, "x" * len(strokes.replace(" ", ""))) for root, strokes in riff * 2 + chorus]
    low = {"E": "E1", "G": "G1", "A": "A1", "C": "C2", "D": "D2", "B": "B1"}
    bass = played(eighths, 0, low) + line("E1:4", 64, 108)
    lead = """E5:1.5 D5:.5 C5:1 E5 | D5:2 B4:1 G4 | A4:1.5 B4:.5 D5:1 F#5 | E5:3 C#5:1 |
              E5:1.5 G5:.5 E5:1 C5 | D5:2 G5:1 D5 | E5:1.5 D5:.5 C#5:1 E5 | F#5:2 D#5 | E5:4"""
    verse = {KICK: "X..X ..X. X.XX ..X.", SNARE: ".... X... .... X..g", CLOSED_HAT: "x.o. x.o. x.o. x.o."}
    wide = {
        KICK: "X... ..X. X.X. ..X.",
        SNARE: ".... X... .... X...",
        RIDE: "x.x. x.x. x.x. x.x.",
        CRASH: "x... .... .... ....",
    }
    drums = grid(verse, bars=7)
    drums += grid(
        {
            KICK: "X... X... ....",
            SNARE: ".... X... xxxx",
            HIGH_TOM: ".... .... .... xx..",
            LOW_TOM: ".... .... .... ..XX",
        },
        28,
    )
    drums += grid(wide, 32, bars=7)
    drums += grid({KICK: "X.X. X.X.", SNARE: "..x. ..x. xxxx XXXX", CRASH: "x..."}, 60)
    drums += line("C2+C#3:4", 64, 116)
    loose = dict(timing_seconds=0.007, touch=6.0)
    parts = [
        Part("Drums", POWER_KIT, drums, volume=116, reverb=26, drums=True, **loose),
        Part("Bass", PICK_BASS, bass, volume=112, reverb=8, **loose),
        Part("Guitar left", DISTORTION, chords, pan=12, volume=90, reverb=24, **loose),
        Part("Guitar right", DISTORTION, chords, pan=116, volume=90, reverb=24, **loose),
        Part("Lead", OVERDRIVE, line(lead, 32, 104, 0.98), pan=64, volume=96, reverb=60, **loose),
    ]
    return Piece(
        "rock.ogg",
        "Rock: power chords and a lead guitar",
        "摇滚：强力和弦与主音吉他",
        "Non_classic",
        144,
        68,
        parts,
        seed=144,
        drive=1.2,
        tail_seconds=0.8,
    )


def acoustic_pop() -> Piece:
    """A strummed steel guitar in G at 98, a picked tune, soft voices and a shaker."""
    shapes = {
        "G": "G2+B2+D3+G3+B3+G4",
        "Em": "E2+B2+E3+G3+D4+G4",
        "C": "C3+E3+G3+D4+G4",
        "D": "D3+A3+D4+G4",
        "Am": "A2+E3+A3+C4+G4",
    }
    order = ["G", "Em", "C", "D", "G", "Em", "C", "D", "Am", "C", "G"]
    strums = rhythm([shapes[name] for name in order[:-1]], "x_xo _oxo", strum=0.022)
    roots = {"G": "G2", "Em": "E2", "C": "C2", "D": "D2", "Am": "A2"}
    bass = [
        note
        for bar, name in enumerate(order[:-1])
        for note in line(f"{roots[name]}:1.5 {roots[name]}:.5 {roots[name]}:2", 4.0 * bar, 78)
    ]
    tune = """B4:.5 D5 E5:1 D5:.5 B4 A4:1 | G4:.5 A4 B4:1.5 A4:.5 G4:1 |
              E5:.5 D5 C5:1 D5:.5 E5 G5:1 | F#5:.5 E5 D5:2 -:1 |
              C5:.5 D5 E5:1 G5:.5 E5 D5:1 | C5:.5 B4 C5:1 D5:.5 E5 F#5:1 | G5:4"""
    voices = rhythm(
        ["B3+D4+G4", "B3+E4+G4", "C4+E4+G4", "A3+D4+F#4", "C4+E4+A4", "C4+E4+G4"], "s_______", 16, hold=0.99
    )
    light = {SHAKER: "s.g. s.g. s.g. s.g.", KICK: "s... .... s.g. ....", STICK: ".... s... .... s..."}
    drums = grid({SHAKER: light[SHAKER]}, bars=2) + grid(light, 8, bars=2)
    drums += grid({**light, TAMBOURINE: ".... s... .... s..."}, 16, bars=6)
    last = rhythm([shapes["G"]], "x_______", 40, strum=0.06)
    easy = dict(timing_seconds=0.009, touch=5.0)
    parts = [
        Part("Steel guitar", STEEL_GUITAR, strums + last, pan=54, volume=112, reverb=34, **easy),
        Part("Picked guitar", STEEL_GUITAR, line(tune, 16, 92), pan=84, volume=108, reverb=50, **easy),
        Part("Voices", OOHS, voices + line("B3+D4+G4:4", 40, 50), pan=64, volume=70, reverb=80, **easy),
        Part("Bass", FINGER_BASS, bass + line("G2:4", 40, 74), volume=96, reverb=12, **easy),
        Part("Percussion", STANDARD_KIT, drums, volume=92, reverb=40, drums=True, **easy),
    ]
    return Piece(
        "acoustic_pop.ogg",
        "Acoustic pop: strummed steel guitar and a shaker",
        "原声流行：钢弦吉他扫弦与沙锤",
        "Non_classic",
        98,
        44,
        parts,
        seed=98,
        drive=0.8,
        tail_seconds=1.2,
    )


def soul() -> Piece:
    """A slow groove at 76: electric piano ninths, a lazy bass, ghost notes on the snare."""
    order = ["D3+F3+A3+C4+E4", "G2+F3+A3+B3+E4", "C3+E3+G3+B3+D4", "A2+G3+C4+E4+G4"] * 2
    keys = rhythm([chord.split("+", 1)[1] for chord in order[:7]], "x__.o_.s o__..o_.", step=0.25, swing=0.16)
    keys += line("G3+C4+E4+B4:4", 28, 74)
    low = """D2:.75 D2:.25 -:.5 A2:.5 C3:.5 A2 D2:.75 F2:.25 |
             G1:.75 G1:.25 -:.5 D2:.5 F2:.5 G2 F2:.75 D2:.25 |
             C2:.75 C2:.25 -:.5 G2:.5 B2:.5 G2 E2:.75 C2:.25 |
             A1:.75 A1:.25 -:.5 E2:.5 G2:.5 A2 C#2:.75 C#2:.25 |"""
    bass = line(low, 0, 92, 0.9) + line(low, 16, 92, 0.9)
    bass = [note for note in bass if note.start < 28] + line("A1:4", 28, 92)
    sax = """-:.5 A4 C5 D5:.5 E5:1.5 D5:.5 | B4:.5 D5 E5:.75 D5:.25 B4:1 A4 |
             G4:.5 B4 D5:.5 E5 G5:1 E5:.5 D5 | E5:4"""
    groove = {KICK: "X..g ...x ..X. ....", SNARE: ".g.. X..g .g.g X.g.", CLOSED_HAT: "o.s. o.s. o.s. o.so"}
    drums = grid(groove, bars=7, swing=0.16)
    drums += [Note(28, 4, CRASH, 70), Note(28, 1, KICK, 100)]
    chanks = rhythm(
        ["A4+C5+E5", "A4+B4+E5", "G4+B4+D5", "G4+C5+E5"] * 2, ".... o..s .... o...", step=0.25, hold=0.45, swing=0.16
    )
    pads = rhythm(["A3+C4+E4", "A3+B3+E4", "G3+B3+D4", "G3+C4+E4"], "s_______", 16, hold=0.99)
    lazy = dict(timing_seconds=0.008, touch=5.0)
    parts = [
        Part("Drums", BRUSH_KIT, drums, volume=114, reverb=24, drums=True, **lazy),
        Part("Electric piano", ELECTRIC_PIANO, keys, pan=50, volume=108, reverb=46, **lazy),
        Part("Bass", FINGER_BASS, bass, volume=116, reverb=6, **lazy),
        Part("Guitar", MUTED_GUITAR, [n for n in chanks if n.start < 28], pan=100, volume=78, reverb=40, **lazy),
        Part("Strings", STRINGS, pads, pan=76, volume=58, reverb=80, **lazy),
        Part("Saxophone", TENOR_SAX, line(sax, 16, 84, 0.95), pan=70, volume=88, reverb=70, **lazy),
    ]
    return Piece(
        "soul.ogg",
        "Soul: electric piano, bass and ghost notes",
        "灵魂乐：电钢琴、贝斯与鬼音鼓点",
        "Non_classic",
        76,
        32,
        parts,
        seed=76,
        drive=1.2,
        tail_seconds=0.6,
    )


POPULAR = (dance_pop(), rock(), acoustic_pop(), soul())
