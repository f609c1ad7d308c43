from __future__ import annotations

from pathlib import Path

import pytest

from ccmusic.errors import InvalidParameter
from ccmusic.evaluation.labelled_data import Columns, read_labelled


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_are_labels_and_the_folders_in_them_artists(tmp_path: Path) -> None:
    _touch(tmp_path, "blues/robert/a.mp3", "blues/robert/b/c.OGG", "blues/d.wav", "folk/joan/e.flac")
    data = read_labelled(tmp_path)
    assert [(r.path.name, r.label, r.artist) for r in data.recordings] == [
        ("d.wav", "blues", None),
        ("a.mp3", "blues", "robert"),
        ("c.OGG", "blues", "robert"),
        ("e.flac", "folk", "joan"),
    ]
    assert data.labels == ("blues", "folk")
    assert data.units.tolist() == [0, 1, 1, 2]
    assert data.reference(("folk", "blues")).tolist() == [1, 1, 1, 0]
    assert not data.has_artists
    assert any("1 recordings have no artist" in note for note in data.notes)


def test_other_files_are_skipped_and_reported(tmp_path: Path) -> None:
    _touch(tmp_path, "blues/a.mp3", "blues/cover.jpg", "beside.mp3", ".hidden/b.mp3", "folk/.part.mp3")
    data = read_labelled(tmp_path)
    assert [r.path.name for r in data.recordings] == ["a.mp3"]
    assert any(".jpg" in note for note in data.notes)
    assert any("1 recordings are outside" in note for note in data.notes)


def test_one_artist_with_two_labels_is_one(tmp_path: Path) -> None:
    _touch(tmp_path, "blues/robert/a.mp3", "folk/robert/b.mp3")
    assert read_labelled(tmp_path).units.tolist() == [0, 0]


def test_csv_with_other_column_names(table: Path) -> None:
    data = read_labelled(table, Columns("file", "kind", "singer"))
    first = data.recordings[0]
    assert first.path == table.parent / "low" / "artist 0" / "0.wav"
    assert (first.label, first.artist, first.columns["side"]) == ("low", "low 0", "low")
    assert data.has_artists
    assert data.notes == ()


def test_csv_without_artists_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,label\nx.wav,blues\n/elsewhere/y.wav,folk\n", encoding="utf-8")
    data = read_labelled(tmp_path / "a.csv")
    assert data.recordings[1].path == Path("/elsewhere/y.wav")
    assert data.units.tolist() == [0, 1]
    assert "'artist'" in data.notes[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("file,label\nx.wav,blues\n", "no column 'path', only file, label"),
        ("path,label\nx.wav,\n", "line 2: path or label is empty"),
        ("path,label\n", "no labelled recordings"),
        ("", "no column 'path', only nothing"),
    ],
)
def test_csv_that_cannot_be_used(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidParameter, match=complaint):
        read_labelled(tmp_path / "a.csv")


def test_csv_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("path,label\nx.wav,民谣\n".encode("gb18030"))
    with pytest.raises(InvalidParameter, match="not a CSV file in UTF-8"):
        read_labelled(tmp_path / "a.csv")


def test_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="must name a folder or a CSV file"):
        read_labelled(tmp_path / "absent")
    with pytest.raises(InvalidParameter, match="put each label's into a folder of its own"):
        read_labelled(tmp_path)
