"""The drawings of the page: the spectrogram, the timeline of the windows on the same time axis, the genre groups.

Axes are HTML, not part of the image, so they stay readable on a phone and follow the dark theme.
"""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from ccmusic.appearance import colours
from ccmusic.genres import Taxonomy
from ccmusic.inference.result import Prediction, TrackResult, Window, rank
from ccmusic.ui.texts import Language, clock, text

N_BINS = 84
BINS_PER_OCTAVE = 12
ROW_PIXELS = 4
"""Height of one semitone in the picture, so that a saved picture has a useful size."""

MOST_TICKS = 8
TICK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)

# Dark violet, red, pale yellow, with evenly increasing lightness, after the colour map "magma"; equally spaced.
_ANCHORS = np.array(
    [
        (0, 0, 4), (20, 14, 54), (59, 15, 112), (100, 26, 128), (140, 41, 129), (183, 55, 121),
        (222, 73, 104), (247, 112, 92), (254, 159, 109), (254, 207, 146), (252, 253, 191),
    ]
)  # fmt: skip
COLOUR_MAP = np.stack(
    [np.interp(np.linspace(0, len(_ANCHORS) - 1, 256), np.arange(len(_ANCHORS)), channel) for channel in _ANCHORS.T],
    axis=1,
).round().astype(np.uint8)  # fmt: skip
"""Colours of the levels 0 to 255 [shape=(256, 3), dtype=uint8]."""


def genre_name(prediction: Prediction, language: Language) -> str:
    """A genre's name in the reader's language."""
    return prediction.label_zh if language == "zh" else prediction.label_en


def spectrogram_png(spectrogram_db: np.ndarray) -> bytes:
    """Draw a CQT, low notes at the bottom.

    Parameters
    ----------
    spectrogram_db : np.ndarray [shape=(84, columns), dtype=uint8]
        0 is 80 dB below the loudest, 255 the loudest; row 0 the lowest note.

    Returns
    -------
    bytes
        PNG, one pixel per column, `ROW_PIXELS` per note. The palette is `COLOUR_MAP`, so pixel values are levels.
    """
    upright = np.repeat(spectrogram_db[::-1], ROW_PIXELS, axis=0)
    picture = Image.fromarray(np.ascontiguousarray(upright, dtype=np.uint8))
    picture.putpalette(COLOUR_MAP.tobytes())
    png = io.BytesIO()
    picture.save(png, "PNG")
    return png.getvalue()


def seconds_ticks(duration_seconds: float) -> list[float]:
    """Marks of the time axis, at a round step that gives at most `MOST_TICKS` marks."""
    step = next((s for s in TICK_STEPS if duration_seconds / s < MOST_TICKS), TICK_STEPS[-1])
    while duration_seconds / step >= MOST_TICKS:
        step *= 2
    last_with_space_for_a_label = 0.94 * duration_seconds
    return [
        float(second) for second in range(0, int(duration_seconds) + 1, step) if second <= last_with_space_for_a_label
    ]


def _axis_html(duration_seconds: float) -> str:
    return "".join(
        f'<span style="left:{100 * second / max(duration_seconds, 1e-9):.3f}%">{clock(second)}</span>'
        for second in seconds_ticks(duration_seconds)
    )


def notes_html() -> str:
    """Names of the octaves beside a spectrogram."""
    octaves = N_BINS // BINS_PER_OCTAVE
    return "".join(
        f'<span style="bottom:{100 * (octave * BINS_PER_OCTAVE + 0.5) / N_BINS:.3f}%">C{octave + 1}</span>'
        for octave in range(octaves)
    )


def _spectrogram_html(spectrogram_db: np.ndarray, language: Language) -> str:
    # Embedded in the page and not a file, so that nothing of a recording stays on disk or gets a URL.
    data = base64.b64encode(spectrogram_png(spectrogram_db)).decode()
    label = text("map.spectrogram", language)
    return (
        f'<figcaption>{label}</figcaption><div class="cc-notes" aria-hidden="true">{notes_html()}</div>'
        f'<div class="cc-plot cc-spectrogram"><img alt="{escape(label)}" src="data:image/png;base64,{data}"></div>'
    )


def _stretches(windows: tuple[Window, ...], taxonomy: Taxonomy) -> list[tuple[float, float, tuple[Prediction, ...]]]:
    """Start, end and two likeliest genres of each window. A window ends where the next begins, so none is hidden."""
    stretches = []
    for i, window in enumerate(windows):
        last = i + 1 == len(windows)
        end = window.end_seconds if last else min(window.end_seconds, windows[i + 1].start_seconds)
        stretches.append((window.start_seconds, end, rank(window.probabilities, taxonomy.genres(), 2)))
    return stretches


def timeline_html(result: TrackResult, language: Language) -> str:
    """Draw the likeliest genre of every window as a coloured bar, with a legend and a table.

    A stronger colour is a higher probability. The tooltip of a bar has its time and its two likeliest genres.
    """
    duration = max(result.duration_seconds, 1e-9)
    colour = colours(result.taxonomy)
    stretches, rows, present = [], [], set()
    for start, end, (first, second) in _stretches(result.windows, result.taxonomy):
        present.add(first.genre)
        name = genre_name(first, language)
        title = (
            f"{clock(start)}–{clock(end)}  {name} {first.probability:.0%}"
            f"\n{genre_name(second, language)} {second.probability:.0%}"
        )
        stretches.append(
            f'<i title="{escape(title)}" data-genre="{escape(first.genre)}" style="left:{100 * start / duration:.3f}%;'
            f"width:{100 * max(end - start, 0) / duration:.3f}%;background:{colour[first.genre]};"
            f'opacity:{0.4 + 0.6 * first.probability:.2f}"></i>'
        )
        rows.append(
            f"<tr><td>{clock(start)}</td><td>{clock(end)}</td><td>{escape(name)}</td><td>{first.probability:.0%}</td></tr>"
        )
    legend = "".join(
        f'<span><b style="background:{colour[leaf.label]}"></b>'
        f"{escape(leaf.label_zh if language == 'zh' else leaf.label_en)}</span>"
        for leaf in result.taxonomy.genres()
        if leaf.label in present
    )
    label = text("map.timeline", language)
    head = "".join(f"<th>{text(f'map.{column}', language)}</th>" for column in ("from", "to", "genre", "probability"))
    return (
        f'<figcaption>{label}</figcaption><div class="cc-plot cc-timeline" role="img" aria-label="{escape(label)}">'
        f'{"".join(stretches)}</div><div class="cc-axis" aria-label="{text("map.seconds", language)}">'
        f'{_axis_html(result.duration_seconds)}</div><div class="cc-legend">{legend}</div>'
        f'<details class="cc-table"><summary>{text("map.table", language)}</summary><div><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def track_html(result: TrackResult, language: Language) -> str:
    """Draw the spectrogram and the timeline of the windows on the same time axis.

    Parameters
    ----------
    result : TrackResult
        Without a spectrogram, only the timeline is drawn.
    language : str
        ``en`` or ``zh``.

    Returns
    -------
    str
        HTML without external resources.
    """
    picture = "" if result.spectrogram_db is None else _spectrogram_html(result.spectrogram_db, language)
    return (
        f'<section class="cc-card cc-track"><h3>{text("map.title", language)}</h3>'
        f"<figure>{picture}{timeline_html(result, language)}</figure></section>"
    )


def levels_html(result: TrackResult, language: Language) -> str:
    """Draw the probabilities of the groups at each coarser level as bars, in the order of the taxonomy.

    Empty for a taxonomy with one level.
    """
    coarser = result.taxonomy.sizes[:0:-1]
    if not coarser:
        return ""
    columns = "".join(
        f"<div><h4>{text(f'levels.{level}', language)}</h4>{_bars_html(result, level, language)}</div>"
        for level in coarser
    )
    return f'<section class="cc-card cc-levels"><h3>{text("levels.title", language)}</h3>{columns}</section>'


def genres_html(result: TrackResult, language: Language) -> str:
    """Draw the probabilities of all genres as bars, in the order of the taxonomy."""
    level = result.taxonomy.level()
    title = text("levels.all", language, n=level)
    return f'<section class="cc-card cc-genres"><h3>{title}</h3>{_bars_html(result, level, language)}</section>'


def _bars_html(result: TrackResult, level: int, language: Language) -> str:
    predictions = result.predictions(level)
    colour = colours(result.taxonomy, level)
    order = {group.label: i for i, group in enumerate(result.taxonomy.genres(level))}
    likeliest = predictions[0].genre
    bars = "".join(
        f"""<li class="{"cc-top" if p.genre == likeliest else ""}"><span>{escape(genre_name(p, language))}</span>"""
        f'<i><b style="width:{100 * p.probability:.2f}%;background:{colour[p.genre]}"></b></i>'
        f"<em>{p.probability:.0%}</em></li>"
        for p in sorted(predictions, key=lambda p: order[p.genre])
    )
    return f'<ul class="cc-bars" data-level="{level}">{bars}</ul>'
