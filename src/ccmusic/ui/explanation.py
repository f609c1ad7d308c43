"""A picture of an explanation: the spectrogram of a window, brighter where the sound supports the genre."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from ccmusic.inference.occlusion import Explanation
from ccmusic.ui.plots import COLOUR_MAP, ROW_PIXELS, notes_html
from ccmusic.ui.texts import Language, clock, text

COLUMN_PIXELS = 2
SHORT_SECONDS = 5.0
"""In shorter windows the time axis shows tenths of a second; whole seconds would repeat."""
DIMMED = 0.22
"""Brightness of the parts that do not support the genre; 1 is full brightness."""


def explanation_png(explanation: Explanation) -> bytes:
    """Draw the spectrogram of a window, low notes at the bottom; the part with the most evidence is brightest.

    Parameters
    ----------
    explanation : Explanation

    Returns
    -------
    bytes
        PNG, `COLUMN_PIXELS` pixels per frame, `ROW_PIXELS` pixels per note.
    """
    levels = explanation.spectrogram_db
    n_bins, n_frames = levels.shape
    evidence = np.maximum(explanation.evidence, 0.0)
    octaves, blocks = evidence.shape
    rows = np.arange(n_bins) * octaves // n_bins
    edges = np.linspace(0, n_frames, blocks + 1).astype(int)
    columns = np.searchsorted(edges, np.arange(n_frames), side="right") - 1
    light = DIMMED + (1.0 - DIMMED) * (evidence / max(float(evidence.max()), 1e-9))[np.ix_(rows, columns)]
    pixels = (COLOUR_MAP[levels] * light[:, :, np.newaxis]).round().astype(np.uint8)
    upright = pixels[::-1].repeat(ROW_PIXELS, axis=0).repeat(COLUMN_PIXELS, axis=1)
    png = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(upright)).save(png, "PNG")
    return png.getvalue()


def explanation_html(explanation: Explanation, language: Language) -> str:
    """Show an explanation: one line of text and the picture.

    Parameters
    ----------
    explanation : Explanation
    language : str
        ``en`` or ``zh``.

    Returns
    -------
    str
        HTML without external resources.
    """
    data = base64.b64encode(explanation_png(explanation)).decode()
    words = escape(explanation.text(language))
    stretch = f"{clock(explanation.start_seconds)}–{clock(explanation.end_seconds)}"
    caption = text("explain.caption", language, stretch=stretch, probability=f"{explanation.probability:.0%}")
    edges = explanation.edges_seconds
    is_short = explanation.end_seconds - explanation.start_seconds < SHORT_SECONDS
    marked = range(0, len(edges) - 1, 2)
    marks = [f"{edges[i]:.1f} s" if is_short else clock(edges[i]) for i in marked]
    ticks = "".join(
        f'<span style="left:{100 * i / (len(edges) - 1):.3f}%">{mark}</span>'
        for i, mark in zip(marked, marks, strict=True)
    )
    return (
        f'<section class="cc-card cc-track"><h3>{words}</h3><figure><figcaption>{caption}</figcaption>'
        f'<div class="cc-notes" aria-hidden="true">{notes_html()}</div>'
        f'<div class="cc-plot cc-spectrogram"><img alt="{words}" src="data:image/png;base64,{data}"></div>'
        f'<div class="cc-axis">{ticks}</div></figure></section>'
    )
