"""Playlists by genre."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ccmusic.batch import playlists
from ccmusic.batch.playlists import safe_name, write_playlists
from ccmusic.genres import WORLD, taxonomy_of
from support.catalogue_rows import answer, answered, failed, names_in

CATALOGUE = Path("/labels")


def entries(folder):
    """The paths in each playlist."""
    return {
        path.stem: [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
        for path in folder.glob("*.m3u8")
    }


def test_a_track_is_in_the_playlists_of_every_group_that_its_answer_is_sure_of(tmp_path):
    tracks = [
        answered(1, tmp_path / "a.mp3", answer("Soft_rock", 0.9, sure_level=16, duration_seconds=61.4)),
        answered(2, tmp_path / "b.mp3", answer("Opera", 0.4, sure_level=2)),
        answered(3, tmp_path / "c.mp3", answer("Symphony", 0.9, sure_level=16)),
        answered(4, tmp_path / "d.mp3", answer("Opera", 0.2)),
        answered(5, tmp_path / "e.mp3", answer("Opera", 0.9, sure_level=16, odd="speech")),
        failed(6, tmp_path / "f.mp3", "undecodable-audio", "broken"),
    ]
    report = write_playlists(tracks, tmp_path / "lists", CATALOGUE)
    assert entries(tmp_path / "lists") == {
        "Soft rock": ["../a.mp3"],
        "Rock": ["../a.mp3"],
        "Non-classical": ["../a.mp3"],
        "Symphony": ["../c.mp3"],
        "Classical": ["../b.mp3", "../c.mp3"],
    }
    first, mark, *lines = (tmp_path / "lists" / "Rock.m3u8").read_bytes().splitlines(keepends=True)
    assert first == b"#EXTM3U\n"
    assert mark.startswith(b"#CCMUSIC:")
    assert b"".join(lines) == b"#PLAYLIST:Rock\n#EXTINF:61,a\n../a.mp3\n"
    assert (report.n_tracks, len(report.files), +report.left_out) == (3, 5, {"not sure": 2})
    assert names_in(tmp_path) == ["lists"]


def test_tracks_that_are_not_sure_come_only_when_asked(tmp_path):
    tracks = [
        answered(1, tmp_path / "d.mp3", answer("Opera", 0.2)),
        answered(2, tmp_path / "e.mp3", answer("Solo", 0.9, odd="tone")),
    ]
    write_playlists(tracks, tmp_path, CATALOGUE, unsure=True)
    assert entries(tmp_path) == {"Opera": ["d.mp3"], "Solo": ["e.mp3"], "Classical": ["d.mp3", "e.mp3"]}


def test_a_model_without_thresholds_is_unsure_where_its_flag_says_so(tmp_path):
    flagged = answer("Jazz", 0.2, WORLD, sure_level=None, flags=("uncertain",))
    tracks = [
        answered(1, tmp_path / "a.mp3", answer("Jazz", 0.9, WORLD, sure_level=None)),
        answered(2, tmp_path / "b.mp3", flagged),
    ]
    write_playlists(tracks, tmp_path, CATALOGUE)
    assert entries(tmp_path) == {"Jazz": ["a.mp3"]}


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("/somewhere/a.mp3", "/somewhere/a.mp3"),
        ("{folder}/#1.mp3", "./#1.mp3"),
        ("{folder}/ a.mp3", "./ a.mp3"),
        ("{folder}/http:/a.mp3", "./http:/a.mp3"),
        ("{folder}/x/y:z.mp3", "x/y:z.mp3"),
        ("{folder}/../歌.mp3", "../歌.mp3"),
        ("{folder}/\udce9.mp3", None),  # a playlist is UTF-8
        ("{folder}/a\nb.mp3", None),
        ("{folder}/a\r.mp3", None),
    ],
)
def test_an_entry_leads_to_its_file(tmp_path, path, entry):
    name = os.path.normpath(path.format(folder=tmp_path))
    report = write_playlists([answered(1, name, answer("Jazz", 0.9, WORLD, sure_level=16))], tmp_path, CATALOGUE)
    content = (tmp_path / "Jazz.m3u8").read_bytes().decode() if report.files else ""
    assert content.splitlines()[4:] == ([] if entry is None else [entry])
    assert +report.left_out == ({"name": 1} if entry is None else {})


def test_a_title_is_one_line_without_marks_of_direction(tmp_path):
    write_playlists(
        [answered(1, tmp_path / "a\u202e\x1b[31m.mp3", answer("Jazz", 0.9, WORLD, sure_level=16))],
        tmp_path,
        CATALOGUE,
    )
    assert "#EXTINF:30,a\\u202e\\x1b[31m\n" in (tmp_path / "Jazz.m3u8").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Soul / R&B", "Soul - R&B"),
        ("../../etc/passwd", "-..-etc-passwd"),
        ("..", "_"),
        ("", "_"),
        (".hidden", "hidden"),
        ("con", "_con"),
        ("COM1.x", "_COM1.x"),
        ("a\0b\n\u202e\udce9", "a-b---"),
        ("ends. ", "ends"),
        ("歌" * 100, "歌" * 40),
        ("e\u0301", "é"),
    ],
)
def test_file_names_are_safe(name, safe):
    assert safe_name(name) == safe


def test_names_that_differ_only_in_case_are_two_files(tmp_path):
    own = taxonomy_of("own", ("Pop", "pop", "Pop?", "Pop*"))
    tracks = [
        answered(i, tmp_path / f"{i}.mp3", answer(label, 0.9, own, sure_level=4)) for i, label in enumerate(own.labels)
    ]
    write_playlists(tracks, tmp_path, CATALOGUE)
    assert len({path.name.casefold() for path in tmp_path.glob("*.m3u8")}) == 4
    assert sorted(name for found in entries(tmp_path).values() for name in found) == [
        "0.mp3",
        "1.mp3",
        "2.mp3",
        "3.mp3",
    ]


def test_the_number_of_playlists_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(playlists, "MOST_PLAYLISTS", 1)
    tracks = [
        answered(i, tmp_path / f"{i}.mp3", answer(label, 0.9, WORLD, sure_level=16))
        for i, label in enumerate(["Jazz", "Pop"])
    ]
    report = write_playlists(tracks, tmp_path, CATALOGUE)
    assert entries(tmp_path) == {"Jazz": ["0.mp3"]}
    assert +report.left_out == {"too many genres": 1}


def jazz(tmp_path, **changes):
    return answered(1, tmp_path / "a.mp3", answer("Jazz", 0.9, WORLD, sure_level=16), **changes)


def pop(tmp_path):
    return answered(2, tmp_path / "b.mp3", answer("Pop", 0.9, WORLD, sure_level=16))


def test_tracks_whose_file_has_changed_or_is_gone_are_never_in_a_playlist(tmp_path):
    tracks = [jazz(tmp_path, status=status) for status in ("waiting", "skipped", "failed")]
    report = write_playlists(tracks, tmp_path, CATALOGUE, unsure=True)
    assert (report.n_tracks, report.files) == (0, [])


def test_a_playlist_of_an_earlier_export_is_removed_when_its_genre_is_gone(tmp_path):
    write_playlists([jazz(tmp_path), pop(tmp_path)], tmp_path, CATALOGUE)
    assert names_in(tmp_path) == ["Jazz.m3u8", "Pop.m3u8"]
    report = write_playlists([pop(tmp_path)], tmp_path, CATALOGUE)
    assert report.removed == [tmp_path / "Jazz.m3u8"]
    assert names_in(tmp_path) == ["Pop.m3u8"]


@pytest.mark.parametrize("status", ["waiting", "stale"])
def test_while_a_genre_may_come_back_its_playlist_stays(tmp_path, status):
    write_playlists([jazz(tmp_path), pop(tmp_path)], tmp_path, CATALOGUE)
    report = write_playlists([jazz(tmp_path, status=status), pop(tmp_path)], tmp_path, CATALOGUE)
    assert report.removed == []
    assert names_in(tmp_path) == ["Jazz.m3u8", "Pop.m3u8"]


def test_a_catalogue_is_the_same_by_another_path(tmp_path):
    catalogue = tmp_path / "labels"
    catalogue.mkdir()
    (tmp_path / "link").symlink_to(catalogue)
    write_playlists([jazz(tmp_path)], tmp_path, catalogue)
    assert write_playlists([], tmp_path, tmp_path / "link").removed == [tmp_path / "Jazz.m3u8"]


def test_playlists_that_are_not_known_to_be_ours_stay(tmp_path):
    write_playlists([jazz(tmp_path)], tmp_path, CATALOGUE)
    ours = tmp_path / "Jazz.m3u8"
    content = ours.read_bytes()
    (tmp_path / "renamed.m3u8").write_bytes(content)
    (tmp_path / "theirs.m3u8").write_bytes(b"#EXTM3U\n#PLAYLIST:Jazz\na.mp3\n")
    (tmp_path / "empty.m3u8").touch()
    (tmp_path / "folder.m3u8").mkdir()
    (tmp_path / "link.m3u8").symlink_to(ours)
    (tmp_path / "elsewhere").mkdir()
    ours.rename(tmp_path / "elsewhere" / "Jazz.m3u8")
    for changed in (content + b"c.mp3\n", content[:-1], content.replace(b"a.mp3", b"c.mp3")):
        ours.write_bytes(changed)
        before = names_in(tmp_path)
        assert write_playlists([], tmp_path, CATALOGUE).removed == []
        assert names_in(tmp_path) == before
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "Jazz.m3u8").symlink_to(tmp_path / "elsewhere" / "Jazz.m3u8")
    assert write_playlists([], tmp_path / "links", CATALOGUE).removed == []
    assert write_playlists([], tmp_path / "elsewhere", Path("/other/labels")).removed == []
    assert names_in(tmp_path / "elsewhere") == ["Jazz.m3u8"]
    assert len(write_playlists([], tmp_path / "elsewhere", CATALOGUE).removed) == 1
