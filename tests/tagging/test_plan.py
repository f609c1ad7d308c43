"""The file of a plan, as a person reads and edits it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ccmusic.errors import InvalidParameter
from ccmusic.tagging.plan import PlannedTrack, read_plan, write_plan

TRACKS = [
    PlannedTrack(
        Path("/music/一.flac"), "write", genres=("灵魂乐", "R&B"), own={"CCMUSIC_LEVEL": "9"}, payload="sha256:1"
    ),
    PlannedTrack(Path("/music/b.mp3"), "keep", "has a genre", ("Polka",), payload="sha256:2", answer={"label": "Pop"}),
    PlannedTrack(Path(os.fsdecode(b"/music/caf\xe9.mp3")), "write", genres=("Pop",), payload="sha256:3"),
]


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    counts = write_plan(tmp_path / "plan", {"mode": "missing"}, TRACKS)
    assert counts == {"write": 2, "keep: has a genre": 1}
    assert list(read_plan(tmp_path / "plan")) == TRACKS


def test_a_plan_is_readable(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan", {"mode": "missing"}, TRACKS)
    first, second, *_ = (tmp_path / "plan").read_text(encoding="utf-8").splitlines()
    assert json.loads(first) == {"plan": 1, "mode": "missing"}
    assert '"genres": ["灵魂乐", "R&B"]' in second
    assert "reason" not in second


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "plan").write_text("my work")
    with pytest.raises(InvalidParameter, match="exists"):
        write_plan(tmp_path / "plan", {}, TRACKS)
    assert (tmp_path / "plan").read_text() == "my work"


def test_there_is_no_plan_before_it_is_complete(tmp_path: Path) -> None:
    def tracks():
        yield TRACKS[0]
        assert not (tmp_path / "plan").exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_plan(tmp_path / "plan", {}, tracks())
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidParameter, match="cannot be written"):
        write_plan(tmp_path / "file" / "plan", {}, TRACKS)


def test_empty_lines_of_an_editor_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "plan").write_text('{"plan": 1}\n\n{"path": "/a", "action": "write", "genres": ["Pop"]}\n\n')
    (track,) = read_plan(tmp_path / "plan")
    assert (track.path, track.genres) == (Path("/a"), ("Pop",))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("no json", "line 2"),
        ("[]", "line 2"),
        ('{"action": "keep"}', "line 2"),
        ('{"path": "/a"}', "line 2"),
        ('{"path": "/a", "action": "write"}', "write needs genres"),
        ('{"path": "/a", "action": "write", "genres": []}', "write needs genres"),
        ('{"path": "/a", "action": "burn", "genres": ["Pop"]}', "write needs genres"),
        ('{"path": "/a", "action": "write", "genres": "Pop"}', "line 2"),
        ('{"path": "/a", "action": "write", "own": {"CCMUSIC_LEVEL": 9}}', "line 2"),
    ],
)
def test_a_line_that_is_none_is_named(line: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "plan").write_text('{"plan": 1}\n' + line + "\n")
    with pytest.raises(InvalidParameter, match=words):
        list(read_plan(tmp_path / "plan"))


@pytest.mark.parametrize("first", ["{}", '{"plan": 2}', "fLaC"])
def test_another_file_is_no_plan(first: str, tmp_path: Path) -> None:
    (tmp_path / "plan").write_text(first + "\n")
    with pytest.raises(InvalidParameter, match="PLAN"):
        list(read_plan(tmp_path / "plan"))


def test_a_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="cannot be read"):
        list(read_plan(tmp_path / "plan"))
