"""What decoders print to standard error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ccmusic.audio.decode import decode
from ccmusic.audio.identify import identify
from ccmusic.audio.remarks import without_remarks
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.store import locate
from support.recordings import tone, wav

SONG = wav(tone(440, 1.0))


@pytest.fixture(autouse=True)
def _decoder_with_a_remark(monkeypatch):
    """As libmpg123 does for some damaged files; which ones differs from version to version."""

    def identify_and_remark(file):
        os.write(2, b"Note: Illegal Audio-MPEG-Header")
        return identify(file)

    monkeypatch.setattr("ccmusic.audio.decode.identify", identify_and_remark)


def test_a_remark_of_a_decoder_is_discarded(capfd):
    decode(SONG)
    assert "Illegal" in capfd.readouterr().err  # otherwise the next line would show nothing
    decode(SONG, quiet=True)
    assert capfd.readouterr().err == ""


def test_a_quiet_pipeline_discards_them(model_directory, capfd):
    pipeline = Pipeline.load(locate(str(model_directory)))
    pipeline.quiet = True
    capfd.readouterr()
    pipeline.classify(SONG)
    assert capfd.readouterr().err == ""


def test_standard_error_is_back_afterwards_also_after_an_error(capfd):
    open_before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(ValueError, match="of the decoder"), without_remarks():
        os.write(2, b"remark")
        raise ValueError("of the decoder")
    os.write(2, b"ours")
    assert capfd.readouterr().err == "ours"
    assert set(Path("/proc/self/fd").iterdir()) == open_before
