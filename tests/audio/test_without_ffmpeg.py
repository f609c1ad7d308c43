"""Without PyAV, the formats of libsndfile are decoded and the others are refused with what to install."""

import json
import subprocess
import sys

import pytest

from ccmusic.audio.formats import FORMATS
from support.encoding import ENCODED, tone, with_flac_total, with_soundfile

# fmt: off
READ = (
    "wav-16", "wav-24", "wav-8", "wav-float", "wav-double", "wav-adpcm", "rf64", "w64", "flac", "ogg-vorbis",
    "ogg-opus", "mp3", "mp3-mono-22050", "mp3-with-id3", "aiff",
)
# fmt: on
REFUSED = [name for name, (container, _) in ENCODED.items() if not FORMATS[container].libsndfile] + ["ogg-flac"]
CHILD = """
import json, sys
from pathlib import Path

sys.modules["av"] = None  # the import system finds no av any more
from ccmusic.audio.decode import decode
from ccmusic.errors import CcmusicError

found = {}
for path in Path(sys.argv[1]).iterdir():
    try:
        recording = decode(path)
        found[path.name] = [recording.duration_seconds, recording.truncated]
    except CcmusicError as error:
        found[path.name] = [error.slug, str(error)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, list]:
    folder = tmp_path_factory.mktemp("encoded")
    for name, (_, encode) in ENCODED.items():
        (folder / name).write_bytes(encode())
    flac = with_flac_total(with_soundfile("FLAC", "PCM_16", tone()), 44_100)
    (folder / "damaged").write_bytes(flac + bytes(2**17))  # libsndfile ends in the middle, and FFmpeg would read on
    (folder / "unknown").write_bytes(b"no recording at all")
    done = subprocess.run([sys.executable, "-c", CHILD, str(folder)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", READ)
def test_what_libsndfile_reads_is_decoded(found, name):
    assert found[name] == [pytest.approx(2.0, abs=1.1), False]


@pytest.mark.parametrize("name", REFUSED)
def test_what_only_ffmpeg_reads_is_refused_with_the_extra(found, name):
    slug, text = found[name]
    assert slug == "unsupported-media"
    assert "send WAV, FLAC, OGG, Opus, MP3 or AIFF" in text
    assert "pip install 'ccmusic[codecs]'" in text


def test_what_libsndfile_could_read_of_a_damaged_recording_is_the_answer(found):
    assert found["damaged"] == [1.0, True]


def test_no_format_is_offered_that_is_refused(found):
    assert found["unknown"][0] == "unsupported-media"
    assert "MP3, AIFF and others are accepted" in found["unknown"][1]
    assert "M4A" not in found["unknown"][1]
