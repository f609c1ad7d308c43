"""The report of a library in a browser: it opens from disk, sends nothing, and shows hostile names as text."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.plan_format import PLAN_VERSION
from ccmusic.batch.report.page import write_report
from ccmusic.tagging.plan import read_plan
from support.catalogue_rows import answer, answered, failed, write_catalogue

pytestmark = pytest.mark.e2e

ATTACKS = [
    "/m/</script><script>hacked=1</script>.mp3",
    "/m/<img src=x onerror=hacked=1>.mp3",
    "/m/\"'><svg onload=hacked=1>.mp3",
    "/m/right\u202eto left.mp3",
    "/m/\u05e9\u05dc\u05d5\u05dd.mp3",
    "/m/line\nbreak.mp3",
    "/m/Caf\udce9.mp3",
    "/m/${hacked=1}{n}.mp3",
]
COLOURED = """() => {
  const canvas = document.querySelector("canvas");
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let i = 0; i < data.length; i += 4) count += data[i + 3] > 100 && Math.abs(data[i] - data[i + 2]) > 60;
  return count;
}"""
VOCABULARY = {"Opera": ("Opera", "Arias"), "Rock": ()}
HOSTILE_GENRE = "</script><img src=x onerror=hacked=1>\u202e"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    rows = [
        answered(i, name, answer("Opera", 0.9 - i / 100, sure_level=16), payload=f"sha256:{i}")
        for i, name in enumerate(ATTACKS)
    ]
    rows += [answered(100 + i, f"/m/rock {i}.mp3", answer("Soft_rock", 0.6 + i / 100, sure_level=9)) for i in range(20)]
    rows += [answered(200 + i, f"/m/guess {i}.mp3", answer("Solo", 0.3), status="stale") for i in range(3)]
    rows += [failed(300 + i, name, "undecodable-audio", name) for i, name in enumerate(ATTACKS, 1000)]
    rows += [failed(310, "/m/x.mp3", HOSTILE_GENRE, "an error of this name")]
    genres = {0: (HOSTILE_GENRE,), 100: ("Rock",), 101: ()}
    rows = [row for i, row in enumerate(rows) if row.path not in {other.path for other in rows[:i]}]
    with (
        Catalogue.open(write_catalogue(folder / "genres", rows), read_only=True) as catalogue,
        (folder / "report.html").open("wb") as out,
    ):
        write_report(
            catalogue, out, lambda track: genres.get(track.id, ("Jazz",)), VOCABULARY, datetime(2026, 1, 2, tzinfo=UTC)
        )
    return folder / "report.html"


@pytest.fixture
def opened(visit: Callable, report: Path) -> Callable:
    """Open the report from disk; in the end there was no request beside it, no error, and no foreign script ran."""
    visits = []

    def open_report(**options):
        visits.append(visit(report.as_uri(), awaited="main", **options))
        return visits[-1].page

    yield open_report
    for each in visits:
        assert set(each.requests) == {report.as_uri()}
        assert each.errors == []
        assert each.page.evaluate("typeof hacked") == "undefined"
        assert re.search(r"\b(undefined|null|NaN|\[object)\b", each.page.locator("#app").inner_text()) is None
        assert each.page.locator("#app img, #app svg[onload], #app script").count() == 0


@pytest.mark.parametrize(("locale", "title", "rock"), [("en-US", "Genre mix", "Rock"), ("zh-CN", "流派构成", "摇滚")])
def test_it_is_in_the_language_of_the_browser_and_switches(opened, locale, title, rock):
    page = opened(locale=locale)
    assert page.locator(".mix h2").inner_text() == title
    page.get_by_role("button", name=re.compile("^9 ")).first.click()
    assert page.locator(".mix .bars .genre").first.inner_text() == rock
    page.get_by_role("button", name="中文" if locale == "en-US" else "English").click()
    assert page.locator(".mix h2").inner_text() != title
    assert page.evaluate("document.activeElement.textContent") == ("中文" if locale == "en-US" else "English")
    assert page.locator("html").get_attribute("lang") == ("zh-CN" if locale == "en-US" else "en")


def test_hostile_names_are_text_and_are_isolated(opened):
    page = opened()
    page.get_by_role("button", name=re.compile("^Another genre")).click()
    page.get_by_role("searchbox").fill("/m/")
    seen = []
    while True:
        seen += page.locator(".row .track strong").all_inner_texts()
        following = page.get_by_role("button", name="Next")
        if not following.is_enabled():
            break
        following.click()
    assert "<img src=x onerror=hacked=1>.mp3" in seen
    assert "right\\u202eto left.mp3" in seen
    assert "line\\u000abreak.mp3" in seen
    assert "Caf\\xe9.mp3" in seen
    assert "${hacked=1}{n}.mp3" in seen
    assert page.locator(".row .track strong > bdi").count() == page.locator(".row .track strong").count()
    assert page.locator(".row .own bdi").filter(has_text="</script>").count() <= 1
    for summary in page.locator(".failures summary").all():
        summary.click()
    assert page.locator(".failures").get_by_text("</script><img src=x onerror=hacked=1>").count() == 1


def test_decisions_become_a_plan_with_exact_paths(opened, tmp_path):
    page = opened(accept_downloads=True)
    assert page.get_by_role("button", name="Save plan").is_disabled()
    page.get_by_role("button", name=re.compile("^Another genre")).click()
    page.get_by_role("searchbox").fill("caf")
    page.get_by_role("button", name="Write", exact=True).click()
    page.get_by_role("searchbox").fill("right")
    page.get_by_role("button", name="Leave the file").click()
    page.get_by_role("searchbox").fill("rock 5")
    page.locator(".decision select").select_option("Opera")
    assert page.get_by_role("button", name="Write", exact=True).is_disabled()  # nothing is written for Rock
    page.get_by_role("searchbox").fill("rock 6")
    page.get_by_role("button", name="Leave the file").click()
    page.get_by_role("button", name="Leave the file").click()  # taken back
    with page.expect_download() as download:
        page.get_by_role("button", name="Save plan").click()
    # `ccmusic tag apply` reads it
    assert {os.fsencode(track.path): (track.action, track.genres) for track in read_plan(download.value.path())} == {
        b"/m/Caf\xe9.mp3": ("write", ("Opera", "Arias")),
        "/m/right\u202eto left.mp3".encode(): ("keep", None),
        b"/m/rock 5.mp3": ("write", ("Opera", "Arias")),
    }
    about, *lines = [json.loads(line) for line in download.value.path().read_text("utf-8").splitlines()]
    assert (about["plan"], about["mode"]) == (PLAN_VERSION, "review")
    latin, right, rock = sorted(lines, key=lambda line: line["path"])
    assert base64.b64decode(latin["path_base64"]) == b"/m/Caf\xe9.mp3"
    assert (latin["action"], latin["genres"], latin["genres_now"]) == ("write", ["Opera", "Arias"], ["Jazz"])
    assert (latin["payload"], latin["answer"]["label"]) == ("sha256:6", "Opera")
    assert (right["path"], right["action"], right["reason"]) == ("/m/right\u202eto left.mp3", "keep", "review")
    assert (rock["path"], rock["genres"], rock["answer"]["label"]) == ("/m/rock 5.mp3", ["Opera", "Arias"], "Rock")


def test_decisions_are_there_after_a_reload(opened):
    page = opened()
    page.get_by_role("button", name="Leave the file").first.click()
    page.reload()
    page.get_by_role("button", name=re.compile("^Decided 1")).click()
    assert page.locator(".row").count() == 1
    page.get_by_role("button", name="Forget all").click()
    assert page.get_by_role("button", name=re.compile("^Decided")).count() == 0


def test_each_kind_has_its_tracks(opened):
    page = opened()
    found = {}
    for button in page.locator(".tabs button").all():
        button.click()
        found[button.inner_text().rsplit(" ", 1)[0]] = page.locator(".turn span").inner_text()
    assert found == {
        "No genre in the file": "1 to 1 of 1",
        "Another genre in the file": f"1 to 12 of {len(ATTACKS) + 18}",
        "Not sure": "1 to 3 of 3",
        "The file agrees": "1 to 1 of 1",
    }


def test_one_genre_alone_is_on_the_map(opened):
    page = opened()

    def coloured():
        return page.evaluate(COLOURED)

    everything = coloured()
    assert everything > 50
    page.locator(".legend button", has_text="Opera").click()
    assert page.get_by_text("Only Opera").is_visible()
    assert 0 < coloured() < everything
    page.get_by_role("button", name="Show all genres").click()
    assert coloured() == everything


@pytest.fixture
def note_of_the_map(visit: Callable, tmp_path: Path) -> Callable:
    """The note below the map of a library of ten tracks, of which the last ones have no acoustic identity."""

    def read(n_with_identity: int, **options) -> str:
        values = np.random.default_rng(1).normal(size=(n_with_identity, 8)).astype("<f2")
        rows = [answered(i, f"/m/{i}.mp3", answer("Solo", 0.5), embedding=v.tobytes()) for i, v in enumerate(values)]
        rows += [answered(i, f"/m/{i}.mp3", answer("Solo", 0.5)) for i in range(n_with_identity, 10)]
        with (
            Catalogue.open(write_catalogue(tmp_path / "library", rows), read_only=True) as catalogue,
            (tmp_path / "report.html").open("wb") as out,
        ):
            write_report(catalogue, out, lambda track: (), {}, datetime(2026, 1, 2, tzinfo=UTC))
        visited = visit((tmp_path / "report.html").as_uri(), awaited="main", **options)
        return visited.page.locator("p.note", has=visited.page.get_by_text(re.compile("^(Method|方法)"))).inner_text()

    return read


def test_the_map_says_how_many_tracks_it_lacks(note_of_the_map):
    note = note_of_the_map(8)
    assert "2 tracks are not on the map" in note
    assert "were chosen" not in note


def test_the_map_of_a_large_library_says_how_many_were_chosen(note_of_the_map, monkeypatch):
    for module in ("page", "track_map"):
        monkeypatch.setattr(f"ccmusic.batch.report.{module}.MOST_POINTS", 5)
    note = note_of_the_map(10)
    assert "Of 10 tracks with an answer, 5 were chosen" in note
    assert "not on the map" not in note


def test_chinese_has_no_space_between_sentences(note_of_the_map):
    note = note_of_the_map(8, locale="zh-CN")
    assert "有 2 首没有上述特征" in note
    assert "。 " not in note


def test_a_point_tells_its_name_and_the_keyboard_moves_the_map(opened):
    page = opened()
    page.locator("canvas").focus()
    before = page.evaluate(COLOURED)
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(COLOURED) != before
    page.get_by_role("button", name="Whole map").click()
    assert page.evaluate(COLOURED) == before
    box = page.locator("canvas").bounding_box()
    assert box is not None
    moves = ((x, y) for x in range(2, 100, 2) for y in range(2, 100, 5))
    for x, y in moves:
        page.mouse.move(box["x"] + box["width"] * x / 100, box["y"] + box["height"] * y / 100)
        if page.locator(".tip").is_visible():
            break
    assert re.search("Opera|Soft rock|Solo", page.locator(".tip").inner_text())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_follow_the_browser_and_the_choice(opened, scheme):
    page = opened(color_scheme=scheme)
    back = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(back)
    page.get_by_role("button", name="Dark" if scheme == "light" else "Light").click()
    assert page.evaluate(back) != before
    page.get_by_role("button", name="Auto").click()
    assert page.evaluate(back) == before


def test_nothing_is_wider_than_a_phone(opened):
    page = opened(viewport={"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
