"""``ccmusic batch duplicates``."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ccmusic.cli import main
from support.catalogue_rows import answer, answered, write_catalogue

ONE, OTHER = (row.astype("<f2").tobytes() for row in np.repeat(np.eye(2), 128, axis=1) / 8)


@pytest.fixture
def catalogue(tmp_path):
    found = answer("Opera", 0.75)
    paths = [b"/music/a.mp3", b"/music/b.flac", b"/music/c\xff\n.ogg", b"/music/gone.mp3"]
    rows = [
        replace(answered(number, path, found), duration_seconds=200.0, embedding=embedding)
        for number, (path, embedding) in enumerate(zip(paths, (ONE, OTHER, ONE, OTHER), strict=True), 1)
    ]
    return write_catalogue(tmp_path / "genres", [*rows[:3], replace(rows[3], status="skipped")])


def test_the_paths_of_each_group(catalogue, capsys):
    assert main(["batch", "duplicates", str(catalogue)]) == 0
    assert capsys.readouterr().out == "/music/a.mp3\n/music/c\\xff\\n.ogg\n\n"


def test_json_has_the_exact_paths(catalogue, capsys):
    assert main(["batch", "duplicates", str(catalogue), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"files": ["/music/a.mp3", "/music/c\udcff\n.ogg"]}


def test_no_catalogue_is_an_error(tmp_path, capsys):
    assert main(["batch", "duplicates", str(tmp_path)]) != 0
    assert "There is no catalogue" in capsys.readouterr().err
