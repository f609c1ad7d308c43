"""The HTML of the report. tests/e2e/test_library_report.py opens it in a browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.certainty import REASONS
from ccmusic.batch.plan_format import KEEP, PLAN_VERSION, WRITE
from ccmusic.batch.report import page
from ccmusic.batch.report.page import LANGUAGES, SCRIPTS, in_script, write_report
from ccmusic.batch.track_row import TrackRow
from ccmusic.errors import SLUGS
from ccmusic.genres import WORLD
from ccmusic.inference.result import FLAGS
from ccmusic.models.non_music_limits import OUT_OF_REACH
from support.catalogue_rows import answer, answered, failed, write_catalogue

FOLDER = files("ccmusic.batch.report")
HOSTILE = [
    "/m/</script><script>alert(1)</script>.mp3",
    "/m/\"'><!--.mp3",
    "/m/\u202e\u2028.mp3",
    "/m/\udce9.mp3",
    "/m/歌🎵.mp3",
]


class Elements(HTMLParser):
    """The elements of a page, and the text of its scripts and its style."""

    def __init__(self, html):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.texts.append((tag, dict(attrs), ""))

    def handle_data(self, data):
        if self.found and self.found[-1][0] in ("script", "style"):
            tag, attrs, text = self.texts[-1]
            self.texts[-1] = (tag, attrs, text + data)

    def handle_endtag(self, tag):
        self.found.append((f"/{tag}", {}))


def report_of(tmp_path, rows, **options):
    out = io.BytesIO()
    with Catalogue.open(write_catalogue(tmp_path / "genres", rows), read_only=True) as catalogue:
        write_report(catalogue, out, made_at=datetime(2026, 1, 2, tzinfo=UTC), **options)
    elements = Elements(out.getvalue().decode())
    (data,) = [json.loads(text) for _, attrs, text in elements.texts if attrs.get("id") == "library"]
    return elements, data


def test_the_page_holds_every_name_exactly_and_nothing_of_it_is_markup(tmp_path):
    rows = [answered(i, name, answer("Opera", 0.9, sure_level=16)) for i, name in enumerate(HOSTILE)]
    rows += [failed(len(rows) + i, f"{name}x", name, name) for i, name in enumerate(HOSTILE[:3], 1)]
    elements, data = report_of(tmp_path, rows, genres_of_file=lambda track: [track.name])
    plain, _ = report_of(tmp_path / "plain", [answered(1, "/a", answer("Opera", 0.9))])
    assert [tag for tag, _ in elements.found] == [tag for tag, _ in plain.found]
    paths = [
        base64.b64decode(row["path_base64"]) if "path_base64" in row else row["path"].encode()
        for row in data["queue"]["rows"]
    ]
    assert sorted(paths) == sorted(map(os.fsencode, HOSTILE))


def test_the_policy_allows_the_script_and_style_of_the_page_and_no_request(tmp_path):
    elements, _ = report_of(tmp_path, [])
    (policy,) = [
        attrs["content"] for tag, attrs in elements.found if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for tag, attrs, text in elements.texts:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert attrs.get("type") == "application/json" or rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")
    addresses = [value for _, attrs in elements.found for name, value in attrs.items() if name in ("src", "href")]
    assert [address[:5] for address in addresses] == ["data:"]


def test_the_data_has_the_counts(tmp_path):
    rows = [
        answered(1, "/m/a.mp3", answer("Opera", 0.9, sure_level=16, duration_seconds=100)),
        answered(2, "/m/b.mp3", answer("Opera", 0.3), status="stale", same_as=1),
        answered(3, "/m/c.mp3", answer("Jazz", 0.9, WORLD)),
        failed(4, "/m/d.mp3", "undecodable-audio", "broken"),
        TrackRow(5, b"/m/e.mp3", "/m/e.mp3", "waiting"),
    ]
    _, data = report_of(tmp_path, rows)
    counts = data["counts"]
    assert (counts["total"], counts["answered"], counts["other"], counts["failed"], counts["waiting"]) == (
        5,
        2,
        1,
        1,
        1,
    )
    assert (counts["sure"], counts["unsure"], counts["same"], counts["stale"]) == (1, 1, 1, 1)
    assert [level["size"] for level in data["taxonomy"]] == [16, 9, 2]
    assert data["failures"] == [{"reason": "undecodable-audio", "count": 1, "examples": [["/m/d.mp3", "broken"]]}]
    assert data["map"] is None
    assert data["model"]["name"] == "made-up"
    assert (data["queue"]["read"], data["queue"]["counts"]["suggested"]) == (False, 1)


def test_the_map_has_a_name_and_a_group_of_each_level_for_each_point(tmp_path):
    rows = [answered(i, f"/m/{'x' * 300}{i}.mp3", answer("Soft_rock", 0.5 + i / 10, sure_level=9)) for i in range(4)]
    _, data = report_of(tmp_path, rows)
    assert {len(data["map"][name]) for name in ("x", "y", "names", "sure")} == {4}
    assert [data["taxonomy"][i]["genres"][groups[0]]["id"] for i, groups in enumerate(data["map"]["groups"])] == [
        "Soft_rock",
        "Rock",
        "Non_classic",
    ]
    assert max(map(len, data["map"]["names"])) <= page.MOST_NAME


def test_the_format_of_a_plan_comes_from_the_data(tmp_path):
    _, data = report_of(tmp_path, [])
    assert data["queue"]["plan"] == {"version": PLAN_VERSION, "write": WRITE, "keep": KEEP}
    assert re.findall(r'plan: \d|"(?:write|keep)"', (FOLDER / "queue.js").read_text("utf-8")) == []


def test_a_catalogue_without_answers_has_a_page(tmp_path):
    _, data = report_of(tmp_path, [])
    assert (data["counts"]["total"], data["model"], data["queue"]["rows"]) == (0, None, [])


@pytest.mark.parametrize("text", ["</script>", "<!--", "]]>", "&lt;", "\u2028", "\udce9"])
def test_json_in_a_script_is_the_same_value(text):
    written = in_script({text: text})
    assert not re.search("[<>&]", written)
    assert written.isascii()
    assert json.loads(written) == {text: text}


def texts(language):
    return json.loads((FOLDER / f"texts.{language}.json").read_text("utf-8"))


def test_every_text_has_both_languages_and_the_same_values_in_it():
    english, chinese = map(texts, LANGUAGES)
    assert list(english) == list(chinese)
    for key, text in english.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", chinese[key])), key


MADE_NAMES = (
    "flag.",
    "kind.",
    "map.embedding",
    "map.probabilities",
    "odd.",
    "other",
    "reason.",
    "stale",
    "theme.",
    "tile.",
    "why.",
)
"""Texts that scripts name by a beginning and what is in the data."""


def test_every_text_that_a_script_names_exists_and_every_text_is_named():
    english = set(texts("en"))
    script = "".join((FOLDER / name).read_text("utf-8") for name in SCRIPTS)
    called = set(re.findall(r'\bt\(\s*"([\w.-]+)"', script))
    assert called - english == set()
    named = called | {text for text in re.findall(r'"([\w.-]+)"', script) if text in english}
    left = {key for key in english - named if not key.startswith((*MADE_NAMES, "todo."))}
    assert left == {"noscript"}
    beginnings = set(re.findall(r"\b(?:t|has)\(`(\w+)\.\$\{", script)) | set(re.findall(r', "(odd|flag)"\)', script))
    assert {name.split(".")[0] for name in (*MADE_NAMES, "todo.") if "." in name} == beginnings


def test_every_error_of_the_api_has_its_reason_and_its_advice():
    for slug in set(SLUGS) - {"invalid-parameter", "model-not-ready"} | {"skipped", "other"}:
        assert {f"reason.{slug}", f"todo.{slug}"} <= set(texts("en")), slug


def test_every_flag_and_kind_of_non_music_has_a_text():
    names = {f"flag.{flag}" for flag in FLAGS} | {f"odd.{kind}" for kind in (*OUT_OF_REACH, "silence")}
    names |= {f"why.{reason}" for reason in REASONS}
    assert names <= set(texts("en"))
