"""Why a window got its genre, drawn: its spectrogram, lit where the sound speaks for the genre."""

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
"""In shorter windows whole seconds would not tell the marks apart."""
DIMMED = 0.22
"""How bright the parts are that do not speak for the genre."""


def why_png(saliency: Explanation) -> bytes:
    """Draw the window's spectrogram, low notes at the bottom; the brightest part is the one that says most.

    Parameters
    ----------
    saliency : Explanation

    Returns
    -------
    bytes
        PNG, `COLUMN_PIXELS` for each frame, `ROW_PIXELS` for each note.
    """
    levels = saliency.spectrogram_db
    n_bins, n_frames = levels.shape
    evidence = np.maximum(saliency.evidence, 0.0)
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


def why_html(saliency: Explanation, language: Language) -> str:
    """Draw and say why.

    Parameters
    ----------
    saliency : Explanation
    language : str
        ``en`` or ``zh``.

    Returns
    -------
    str
        HTML that needs nothing from outside.
    """
    data = base64.b64encode(why_png(saliency)).decode()
    words = escape(saliency.words(language))
    stretch = f"{clock(saliency.start_seconds)}–{clock(saliency.end_seconds)}"
    caption = text("why.caption", language, stretch=stretch, probability=f"{saliency.probability:.0%}")
    edges = saliency.edges_seconds
    is_short = saliency.end_seconds - saliency.start_seconds < SHORT_SECONDS
    places = range(0, len(edges) - 1, 2)
    marks = [f"{edges[place]:.1f} s" if is_short else clock(edges[place]) for place in places]
    ticks = "".join(
        f'<span style="left:{100 * place / (len(edges) - 1):.3f}%">{mark}</span>'
        for place, mark in zip(places, marks, strict=True)
    )
    return (
        f'<section class="cc-card cc-track cc-why"><h3>{words}</h3><figure><figcaption>{caption}</figcaption>'
        f'<div class="cc-notes" aria-hidden="true">{notes_html()}</div>'
        f'<div class="cc-plot cc-spectrogram"><img alt="{words}" src="data:image/png;base64,{data}"></div>'
        f'<div class="cc-axis">{ticks}</div></figure></section>'
    )
