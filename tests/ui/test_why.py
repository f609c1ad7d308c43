"""The picture that says why."""

import asyncio
import io
from dataclasses import replace

import numpy as np
from PIL import Image

from ccmusic.errors import UndecodableAudio
from ccmusic.ui.answer import why_clip
from ccmusic.ui.why import COLUMN_PIXELS, DIMMED, why_html, why_png
from ui.stub_service import StubService, saliency


def test_only_the_part_that_speaks_for_it_is_lit():
    picture = np.asarray(Image.open(io.BytesIO(why_png(saliency()))).convert("L"), dtype=float)
    assert picture.shape == (84 * 4, 100 * COLUMN_PIXELS)
    lit = picture[-2 * 48 : -48, 2 * 20 : 3 * 20]  # the second octave from below, the third of ten blocks
    dark = picture[:48]
    assert np.isclose(dark.mean(), DIMMED * lit.mean(), atol=2.0)
    assert (picture > dark.max() + 5).sum() == lit.size


def test_it_is_said_in_the_readers_language():
    assert "Opera: mostly the bass between 2 and 3 s" in why_html(saliency(), "en")
    html = why_html(saliency(1), "zh")
    assert "低音" in html
    assert "0:10–0:20" in html
    assert "0:12" in html
    short = replace(saliency(), end_seconds=2.0)
    assert "0.4 s" in why_html(short, "en")


def why(service: StubService, clip: str | None, number: float | None = None) -> str:
    return asyncio.run(why_clip(service, clip, "whole", number, "en"))


def test_the_window_is_counted_from_one(tmp_path):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"RIFF")
    assert "0:00–0:10" in why(StubService(), str(clip))
    assert "0:00–0:10" in why(StubService(), str(clip), 0)
    assert "0:20–0:30" in why(StubService(), str(clip), 3.0)


def test_failures_are_told(tmp_path):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"RIFF")
    assert "Choose or record" in why(StubService(), None)
    assert "no longer kept" in why(StubService(), str(tmp_path / "gone.wav"))
    assert "cannot be read as sound" in why(StubService(UndecodableAudio("no such codec")), str(clip))
