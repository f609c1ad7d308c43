"""The explanation of a window on the page."""

import asyncio
import io
from dataclasses import replace

import numpy as np
from PIL import Image

from ccmusic.errors import UndecodableAudio
from ccmusic.ui.answer import Question, explain_clip
from ccmusic.ui.explanation import COLUMN_PIXELS, DIMMED, explanation_html, explanation_png
from ui.stub_service import StubService, explanation


def test_only_the_part_with_evidence_is_bright():
    picture = np.asarray(Image.open(io.BytesIO(explanation_png(explanation()))).convert("L"), dtype=float)
    assert picture.shape == (84 * 4, 100 * COLUMN_PIXELS)
    lit = picture[-2 * 48 : -48, 2 * 20 : 3 * 20]  # the second octave from below, the third of ten blocks
    dark = picture[:48]
    assert np.isclose(dark.mean(), DIMMED * lit.mean(), atol=2.0)
    assert (picture > dark.max() + 5).sum() == lit.size


def test_the_explanation_is_in_the_readers_language():
    assert "Opera: mostly the bass between 2 and 3 s" in explanation_html(explanation(), "en")
    html = explanation_html(explanation(1), "zh")
    assert "低音" in html
    assert "0:10–0:20" in html
    assert "0:12" in html
    short = replace(explanation(), end_seconds=2.0)
    assert "0.4 s" in explanation_html(short, "en")


def explain(service: StubService, clip: str | None, number: float | None = None) -> str:
    return asyncio.run(explain_clip(service, Question(clip), None, number, "en"))


def test_the_window_is_counted_from_one(tmp_path):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"RIFF")
    assert "0:00–0:10" in explain(StubService(), str(clip))
    assert "0:00–0:10" in explain(StubService(), str(clip), 0)
    assert "0:20–0:30" in explain(StubService(), str(clip), 3.0)


def test_failures_become_notices(tmp_path):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"RIFF")
    assert "Choose or record" in explain(StubService(), None)
    assert "no longer has" in explain(StubService(), str(tmp_path / "gone.wav"))
    assert "cannot be decoded" in explain(StubService(UndecodableAudio("no such codec")), str(clip))
