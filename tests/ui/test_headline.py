"""The headline names only what the model is certain of."""

from dataclasses import replace

import pytest

from ccmusic.genres import taxonomy_of
from ccmusic.ui.headline import certain_level, headline_html
from ui.stub_service import track_result


@pytest.mark.parametrize(
    ("sure_level", "flags", "level", "words"),
    [
        (16, (), 16, ("<h2>Symphony</h2>", "Probability 47%")),
        (9, (), 9, ("<h2>Symphony</h2>", "only of this group: 47%, one of 9 groups", "guesses")),
        (2, ("uncertain",), 2, ("<h2>Classical</h2>", "one of 2 groups", "guesses")),
        (0, (), None, ("<h2>No certain genre</h2>", "guesses")),
        (None, (), 16, ("<h2>Symphony</h2>", "Probability 47%")),  # a card without thresholds for levels
        (None, ("uncertain",), None, ("<h2>No certain genre</h2>", "guesses")),
        (0, ("silence", "uncertain"), None, ("<h2>Almost silent</h2>", "guesses")),
    ],
)
def test_the_headline_is_the_finest_level_that_is_certain(sure_level, flags, level, words):
    result = replace(track_result(likeliest=0, flags=flags), sure_level=sure_level)
    assert certain_level(result) == level
    html = headline_html(result, "en")
    assert all(word in html for word in words)
    assert ("cc-uncertain" in html) is (level is None)


def test_what_is_no_music_has_no_genre_in_its_headline():
    result = replace(track_result(likeliest=0, flags=("uncertain",)), odd="tone", sure_level=0)
    html = headline_html(result, "zh")
    assert "<h2>可能不是音乐</h2>" in html
    assert "交响乐" not in html


def test_the_world_genres_have_their_own_headline():
    world = replace(track_result(likeliest=0), sure_level=16).under("world")
    assert "No certain genre" in headline_html(world, "en")  # flagged uncertain in this taxonomy
    assert "World music" in headline_html(replace(world, flags=()), "en")


def test_labels_are_escaped():
    own = replace(track_result(likeliest=0), taxonomy=taxonomy_of("own", ["<b>", *map(str, range(15))]))
    assert "<h2>&lt;b&gt;</h2>" in headline_html(own, "en")
