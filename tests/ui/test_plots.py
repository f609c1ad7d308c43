"""The drawings of the page."""

import dataclasses
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from ccmusic.features import cqt
from ccmusic.genres import LABELS, taxonomy_of
from ccmusic.inference.result import TrackResult, Window
from ccmusic.ui import plots
from ui.stub_service import probabilities, track_result


def elements(html: str) -> ElementTree.Element:
    """Parse HTML that is well-formed XML apart from its unclosed ``img`` elements."""
    return ElementTree.fromstring(re.sub(r"<(img[^>]*)>", r"<\1/>", f"<root>{html}</root>"))


def bars_of(html: str) -> list[tuple[str, float, float]]:
    """Genre, left edge and width in percent of every bar of a timeline."""
    found = re.findall(r'data-genre="(\w+)" style="left:([\d.]+)%;width:([\d.]+)%', html)
    return [(genre, float(left), float(width)) for genre, left, width in found]


def test_the_rows_of_a_picture_are_the_bins_of_the_spectrogram():
    assert (plots.N_BINS, plots.BINS_PER_OCTAVE) == (cqt.N_BINS, cqt.BINS_PER_OCTAVE)


def test_the_lightness_of_the_colour_map_increases_evenly():
    assert plots.COLOUR_MAP.shape == (256, 3)
    lightness = plots.COLOUR_MAP @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -0.5).all()
    assert lightness[0] < 5
    assert lightness[-1] > 230


def test_the_picture_has_low_notes_at_the_bottom_and_the_colours_of_the_map():
    levels = np.zeros((84, 30), np.uint8)
    levels[0] = 255  # the lowest note
    picture = Image.open(io.BytesIO(plots.spectrogram_png(levels)))
    assert picture.size == (30, 84 * plots.ROW_PIXELS)
    pixels = np.asarray(picture.convert("RGB"))
    assert (pixels[-plots.ROW_PIXELS :] == plots.COLOUR_MAP[255]).all()
    assert (pixels[: -plots.ROW_PIXELS] == plots.COLOUR_MAP[0]).all()


def test_the_levels_can_be_read_back_from_the_picture():
    levels = np.random.default_rng(0).integers(0, 256, (84, 40), dtype=np.uint8)
    picture = Image.open(io.BytesIO(plots.spectrogram_png(levels)))
    assert (np.asarray(picture)[:: plots.ROW_PIXELS][::-1] == levels).all()


@pytest.mark.parametrize("seconds", [0.1, 1, 9.9, 30, 61, 240, 3600, 100_000])
def test_the_time_axis_has_few_round_marks_within_the_recording(seconds):
    ticks = plots.seconds_ticks(seconds)
    assert ticks[0] == 0
    assert ticks[-1] < seconds
    assert len(ticks) <= plots.MOST_TICKS


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_drawing_is_well_formed_and_has_no_external_resources(language):
    result = track_result()
    for draw in (plots.track_html, plots.levels_html, plots.genres_html):
        html = draw(result, language)
        elements(html)
        assert not re.search(r"(src|href)=\"(?!data:image/png;base64,)", html)
        assert "url(" not in html


def test_the_timeline_shows_the_likeliest_genre_of_each_window():
    html = plots.timeline_html(track_result(likeliest=3), "en")
    third = pytest.approx(100 / 3, abs=0.01)
    last = pytest.approx(200 / 3, abs=0.01)
    assert bars_of(html) == [(LABELS[3], 0, third), (LABELS[3], third, third), (LABELS[4], last, third)]
    assert "Chamber 70%" in html
    assert html.count("<tr>") == 4
    legend = html.split('class="cc-legend"')[1].split("</div>")[0]
    assert "Chamber" in legend
    assert "Pop vocal ballad" in legend
    assert "Opera" not in legend


def test_windows_that_overlap_do_not_hide_each_other():
    windows = tuple(Window(5.0 * i, 5.0 * i + 10, probabilities(i)) for i in range(3))
    html = plots.timeline_html(dataclasses.replace(track_result(), duration_seconds=20.0, windows=windows), "en")
    assert [(left, width) for _, left, width in bars_of(html)] == [(0, 25), (25, 25), (50, 50)]


def test_an_answer_without_windows_or_duration_is_drawn():
    result = dataclasses.replace(track_result(spectrogram=False), duration_seconds=0.0, windows=())
    elements(plots.track_html(result, "en"))


def test_the_octaves_are_named_and_the_picture_is_embedded():
    html = plots.track_html(track_result(), "en")
    assert [f">C{octave}<" in html for octave in range(1, 8)] == [True] * 7
    assert ">C8<" not in html
    assert html.count('<img alt="') == 1
    assert "<img" not in plots.track_html(track_result(spectrogram=False), "en")


def own_result() -> TrackResult:
    taxonomy = taxonomy_of("own", ("Wind & <rain>", "雷"))
    row = np.array([0.25, 0.75])
    windows = (Window(0.0, 10.0, row),)
    return dataclasses.replace(track_result(), probabilities={2: row}, windows=windows, taxonomy=taxonomy)


@pytest.mark.parametrize(
    ("result", "leaves"), [(track_result(likeliest=3).under("world"), 16), (own_result(), 2)], ids=["world", "own"]
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_another_taxonomy_is_drawn_with_its_own_names(result, leaves, language):
    assert plots.levels_html(result, language) == ""  # there is only one level
    genres = elements(plots.genres_html(result, language))
    assert len(genres.findall(".//li")) == leaves
    assert str(leaves) in genres.find(".//h3").text
    track = elements(plots.track_html(result, language))
    names = [element.get("data-genre") for element in track.iter("i") if element.get("data-genre")]
    assert names == [result.taxonomy.labels[int(window.probabilities.argmax())] for window in result.windows]
    assert plots.genre_name(result.predictions()[0], language) in "".join(track.itertext())


def test_every_level_shows_all_groups_and_their_probabilities():
    rolled = plots.levels_html(track_result(likeliest=3), "zh") + plots.genres_html(track_result(likeliest=3), "zh")
    bars = {int(level): body for level, body in re.findall(r'data-level="(\d+)">(.*?)</ul>', rolled)}
    assert {level: body.count("<li") for level, body in bars.items()} == {2: 2, 9: 9, 16: 16}
    assert "古典" in bars[2]
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", bars[2])]
    assert sum(widths) == pytest.approx(100, abs=0.02)
