"""``ccmusic batch report``. tests/batch/report has the content, tests/e2e/test_library_report.py the page."""

from __future__ import annotations

import json
import re
import sys

import mutagen.flac
import numpy as np
import pytest
import soundfile

from ccmusic.cli import main
from support.catalogue_rows import answer, answered, failed, names_in, write_catalogue


def data_of(page):
    (text,) = re.findall('<script type="application/json" id="library">(.*?)</script>', page.read_text("utf-8"))
    return json.loads(text)


@pytest.fixture
def folder(tmp_path):
    """A catalogue of three files: with the genre that the vocabulary has for its answer, without a genre, and gone."""
    for name, genres in (("a.flac", ["Adult Alternative"]), ("b.flac", [])):
        soundfile.write(tmp_path / name, np.zeros(2000), 22050)
        tags = mutagen.flac.FLAC(tmp_path / name)
        if genres:
            tags["genre"] = genres
            tags.save()
    sure = answer("Adult_alternative_rock", 0.9, sure_level=16)
    rows = [answered(i, tmp_path / name, sure) for i, name in enumerate(("a.flac", "b.flac", "gone.flac"), 1)]
    return write_catalogue(tmp_path / "labels", [*rows, failed(4, tmp_path / "d.flac", "empty-audio", "none")])


def test_the_report_compares_answers_with_the_genres_in_the_files(folder, capsys):
    assert main(["batch", "report", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}: 4 tracks\n"
    data = data_of(folder / "report.html")
    assert {row["path"].rpartition("/")[2]: (row["kind"], row["own"]) for row in data["queue"]["rows"]} == {
        "a.flac": ("keep", ["Adult Alternative"]),
        "b.flac": ("missing", []),
        "gone.flac": ("suggested", None),
    }
    written = {genre["id"]: genre["written"] for level in data["taxonomy"] for genre in level["genres"]}
    assert (written["Soul_or_RnB"], written["Non_classic"]) == (["Soul", "R&B"], [])


def test_the_vocabulary_of_the_user_is_what_a_plan_writes(folder, tmp_path):
    vocabulary = tmp_path / "mine.json"
    vocabulary.write_text('{"genres": {"Adult_alternative_rock": ["Alternative"]}}')
    assert main(["batch", "report", str(folder), "--vocabulary", str(vocabulary)]) == 0
    kinds = {row["kind"] for row in data_of(folder / "report.html")["queue"]["rows"]}
    assert kinds == {"differs", "missing", "suggested"}


@pytest.mark.parametrize("missing", [True, False])
def test_without_tags_the_page_says_so(folder, tmp_path, capsys, monkeypatch, missing):
    out = tmp_path / "new" / "page.html"
    if missing:
        monkeypatch.setitem(sys.modules, "mutagen", None)
    assert (
        main(["batch", "report", str(folder), "--out", str(out), "--quiet", *([] if missing else ["--no-tags"])]) == 0
    )
    assert ("pip install 'ccmusic[tags]'" in capsys.readouterr().err) == missing
    assert names_in(out.parent) == ["page.html"]
    queue = data_of(out)["queue"]
    assert (queue["read"], {row["kind"] for row in queue["rows"]}) == (False, {"suggested"})
