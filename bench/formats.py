"""The same song in every format: how long it is then, whether the genre is the same, and what is said of the others.

::

    python bench/formats.py [--song examples/rock.ogg] [--write docs/formats.md]

libsndfile and FFmpeg (PyAV) encode most of them. Programs of Debian encode the others, if they are installed: ffmpeg,
lame, flac, opus-tools, wavpack, musepack-tools.
"""

from __future__ import annotations

import argparse
import io
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile

from ccmusic import Classifier
from ccmusic.audio.formats import FORMATS
from ccmusic.errors import CcmusicError
from ccmusic.inference.result import TrackResult

ROOT = Path(__file__).parents[1]
RATE = 44_100
BEGIN_SECONDS, SECONDS = 2, 12
LIBSNDFILE, PYAV = "libsndfile", "FFmpeg in PyAV"
LOSSY_BITS = 160_000
SAMPLE_FORMATS = {"wavpack": "s16p", "tta": "s16"}
"""Of encoders whose first choice is 8 bits."""

Encode = Callable[[Path], bytes]


class Row(NamedTuple):
    """A format of the table: its container, codec and encoder, and how to encode the WAV at a path."""

    container: str
    codec: str
    encoder: str
    encode: Encode


def by_libsndfile(container: str, subtype: str) -> Row:
    def encode(song: Path) -> bytes:
        samples, _ = soundfile.read(song, dtype="float32")
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, format=container, subtype=subtype)
        return file.getvalue()

    return Row(container, subtype, LIBSNDFILE, encode)


def by_pyav(container: str, codec: str, rate: int = RATE, layout: str = "stereo") -> Row:
    def encode(song: Path) -> bytes:
        file = io.BytesIO()
        with av.open(file, "w", format=container) as out, av.open(str(song)) as source:
            stream = out.add_stream(codec, rate=rate, layout=layout, options={"strict": "-2"})
            if not codec.startswith(("pcm", "flac", "alac", "tta", "wavpack")):
                stream.bit_rate = 12_200 if "amr" in codec else LOSSY_BITS
            if codec in SAMPLE_FORMATS:
                stream.format = SAMPLE_FORMATS[codec]
            fit = av.AudioResampler(stream.format.name, layout, rate, stream.frame_size or 1024)
            frames = (piece for frame in (*source.decode(audio=0), None) for piece in fit.resample(frame))
            n_samples = 0
            for frame in frames:
                frame.pts, frame.time_base = n_samples, Fraction(1, rate)
                n_samples += frame.samples
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        return file.getvalue()

    return Row(container, codec, PYAV, encode)


def by_program(container: str, codec: str, suffix: str, *command: str) -> Row:
    def encode(song: Path) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / f"song{suffix}"
            words = [word.format(song=song, out=out) for word in command]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return out.read_bytes()

    return Row(container, codec, f"{command[0]} (Debian)", encode)


def by_ffmpeg(container: str, codec: str, suffix: str, *options: str) -> Row:
    return by_program(container, codec, suffix, "ffmpeg", "-i", "{song}", *options, "{out}")


FORMATS_OF_LIBSNDFILE = (
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("WAV", "IMA_ADPCM"),
    ("RF64", "PCM_24"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
)
FORMATS_OF_PYAV = (
    ("ogg", "libopus", 48_000),
    ("ogg", "flac"),
    ("adts", "aac"),
    ("latm", "aac"),
    ("ipod", "aac"),
    ("ipod", "alac"),
    ("mp4", "ac3"),
    ("mp4", "libopus", 48_000),
    ("mov", "pcm_s24le"),
    ("webm", "libopus", 48_000),
    ("matroska", "flac"),
    ("matroska", "eac3"),
    ("asf", "wmav1"),
    ("asf", "wmav2"),
    ("wv", "wavpack"),
    ("tta", "tta"),
    ("ac3", "ac3"),
    ("eac3", "eac3"),
    ("spdif", "ac3", 48_000),
    ("mpegts", "aac"),
    ("mpegts", "mp2"),
    ("mpeg", "mp2"),
    ("avi", "libmp3lame"),
    ("avi", "pcm_s16le"),
    ("flv", "libmp3lame"),
    ("flv", "aac"),
    ("amr", "libopencore_amrnb", 8000, "mono"),
)
PROGRAMS = (
    by_program("mp3", "V4", ".mp3", "lame", "--quiet", "-V", "4", "{song}", "{out}"),
    by_program("flac", "flac", ".flac", "flac", "-s", "-o", "{out}", "{song}"),
    by_program("ogg", "opus", ".opus", "opusenc", "--quiet", "{song}", "{out}"),
    by_program("wv", "wavpack, hybrid", ".wv", "wavpack", "-q", "-b4", "{song}", "-o", "{out}"),
    by_program("mpc", "Musepack SV8", ".mpc", "mpcenc", "--silent", "{song}", "{out}"),
    by_ffmpeg("dts", "dca", ".dts", "-c:a", "dca", "-strict", "-2"),
    by_ffmpeg("ogg", "libspeex", ".spx", "-ar", "16000", "-ac", "1", "-c:a", "libspeex", "-f", "ogg"),
    by_ffmpeg("flv", "adpcm_swf", ".flv", "-c:a", "adpcm_swf"),
    by_ffmpeg("vob", "pcm_dvd", ".vob", "-ar", "48000", "-c:a", "pcm_dvd", "-f", "vob"),
)


def rows() -> Iterator[Row]:
    yield from (by_libsndfile(*each) for each in FORMATS_OF_LIBSNDFILE)
    yield from (by_pyav(*each) for each in FORMATS_OF_PYAV if each[1] in av.codecs_available)
    yield from (row for row in PROGRAMS if shutil.which(row.encoder.split()[0]))


def line(row: Row, song: Path, classifier: Classifier, of_source: TrackResult) -> str:
    """A row of the table."""
    try:
        result = classifier.classify(row.encode(song))
    except CcmusicError as error:
        return f"| {row.container} | {row.codec} | {row.encoder} | refused: {error} | | |"
    error_ms = 1000 * (result.duration_seconds - of_source.duration_seconds)
    right, got = of_source.probabilities[16], result.probabilities[16]
    same = "yes" if right.argmax() == got.argmax() else "**no**"
    flags = ", ".join(set(result.flags) - set(of_source.flags)) or "-"
    change = np.abs(right - got).max()
    return f"| {row.container} | {row.codec} | {row.encoder} | {error_ms:+.0f} | {same} | {change:.3f} | {flags} |"


def page(song: Path) -> str:
    samples, rate = soundfile.read(song, dtype="float32", start=BEGIN_SECONDS * RATE, frames=SECONDS * RATE)
    if rate != RATE:
        raise SystemExit(f"{song} must have {RATE} Hz")
    classifier = Classifier()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "song.wav"
        soundfile.write(source, samples, RATE, subtype="PCM_16")
        of_source = classifier.classify(source)
        lines = [line(row, source, classifier, of_source) for row in rows()]
    refused = [f"| {each.name} | {each.refusal} |" for each in FORMATS.values() if not each.is_accepted]
    return PAGE.format(
        song=song.name,
        seconds=SECONDS,
        lines="\n".join(lines),
        refused="\n".join(refused),
        python=platform.python_version(),
        av=av.__version__,
        libsndfile=soundfile.__libsndfile_version__,
    )


PAGE = """# Formats

Written by `python bench/formats.py`: {seconds} s of `{song}`, encoded into every format for which there is an encoder,
with PyAV {av}, libsndfile {libsndfile} and Python {python}. "Length" is the difference of the length from that of the
source, in ms: encoders add a delay and fill their last frame. "Change" is the largest change of a probability of the 16
genres. "Flags" are those that the source does not have.

The content of a file decides its format, never its name (`src/ccmusic/audio/formats.py`). libsndfile reads what it
can, FFmpeg the rest, with the decoders of `src/ccmusic/audio/tracks.py` only. Of several tracks, the default one is
analysed, and another one if that is silent; commentaries are the last choice. Protected sound is refused as protected.

| container | codec | encoder | length, ms | same genre | change | flags |
|---|---|---|---|---|---|---|
{lines}

AMR keeps speech in 12 kbit/s up to 4 kHz, and Speex speech up to 8 kHz: too little of the music is left.

No encoder was available for Monkey's Audio, Musepack SV7, DSF, AMR-WB, WMA Pro, WMA Lossless, WMA Voice and AAC in CAF.
The tests decode a computed file of Monkey's Audio (silence) and one of DSF; the others were not tried.

## Refused

| format | text |
|---|---|
{refused}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--song", type=Path, default=ROOT / "examples" / "rock.ogg")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    text = page(options.song)
    if options.write is None:
        print(text)
    else:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
