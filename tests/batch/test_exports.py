"""Tables of a catalogue."""

from __future__ import annotations

import csv
import io
import json
import os

import pytest

from ccmusic.batch.answer_rows import column_names
from ccmusic.batch.exports import OF_THE_CATALOGUE, write_csv, write_json_lines
from ccmusic.batch.track_row import TrackRow
from support.catalogue_rows import answer, answered, failed

HOSTILE = [
    "/m/a\nb.mp3",
    "/m/\u202egpj.mp3",
    '/m/"quoted", and more.mp3',
    "/m/\udce9.mp3",
    "/m/</script>.mp3",
    "/歌.mp3",
]


def rows():
    return [
        answered(1, "/m/a.mp3", answer("Opera", 0.75, sure_level=16, flags=("truncated",)), payload="sha256:ab"),
        answered(2, "/m/b.mp3", answer("Opera", 0.75), same_as=1, status="stale"),
        failed(3, "/m/c.mp3", "undecodable-audio", "the content is\nbroken"),
        TrackRow(4, b"/m/d.mp3", "/m/d.mp3", "waiting"),
    ]


def test_csv_has_the_columns_of_classify_and_those_of_the_catalogue():
    out = io.StringIO(newline="")
    assert write_csv(rows(), out, 2) == 4
    reader = csv.DictReader(io.StringIO(out.getvalue(), newline=""))
    first, second, third, fourth = reader
    assert reader.fieldnames == [*column_names(2), *OF_THE_CATALOGUE]
    assert (first["file"], first["genre_1"], first["probability_1"], first["genre_2"]) == (
        "/m/a.mp3",
        "Opera",
        "0.75",
        "Solo",
    )
    assert (first["sure_level"], first["flags"], first["payload"], first["status"]) == (
        "16",
        "truncated",
        "sha256:ab",
        "ok",
    )
    assert (second["sure_level"], second["same_as"], second["status"]) == ("0", "1", "stale")
    assert (third["genre_1"], third["error"]) == ("", r"undecodable-audio: the content is\nbroken")
    assert (fourth["id"], fourth["status"], fourth["genre_1"], fourth["error"]) == ("4", "waiting", "", "")


def test_a_skipped_file_has_its_reason():
    out = io.StringIO()
    write_csv([TrackRow(1, b"/m/pipe.mp3", "/m/pipe.mp3", "skipped", error_detail="a pipe")], out, 1)
    (row,) = csv.DictReader(io.StringIO(out.getvalue()))
    assert (row["status"], row["error"]) == ("skipped", "skipped: a pipe")


def test_json_lines_have_the_whole_answer():
    out = io.StringIO()
    assert write_json_lines(rows(), out) == 4
    first, second, third, fourth = map(json.loads, out.getvalue().splitlines())
    assert {name: value for name, value in first.items() if name not in (*OF_THE_CATALOGUE, "file")} == answer(
        "Opera", 0.75, sure_level=16, flags=("truncated",)
    )
    assert (first["id"], first["status"], first["payload"], first["same_as"]) == (1, "ok", "sha256:ab", None)
    assert (second["status"], second["same_as"]) == ("stale", 1)
    assert third["error"] == {"type": "undecodable-audio", "detail": "the content is\nbroken"}
    assert fourth == {"file": "/m/d.mp3", "id": 4, "status": "waiting", "payload": None, "same_as": None}


def test_every_name_is_one_row_and_exact_in_json():
    tracks = [answered(i, name, answer("Opera", 0.5)) for i, name in enumerate(HOSTILE)]
    content = io.BytesIO()
    out = io.TextIOWrapper(content, encoding="utf-8", newline="")
    write_json_lines(tracks, out)
    out.flush()
    lines = content.getvalue().split(b"\n")
    assert [os.fsencode(json.loads(line)["file"]) for line in lines[:-1]] == [os.fsencode(name) for name in HOSTILE]
    table = io.StringIO(newline="")
    write_csv(tracks, table, 1)
    table.getvalue().encode()
    assert len(table.getvalue().split("\r\n")) == len(HOSTILE) + 2


@pytest.mark.parametrize("write", [lambda tracks, out: write_csv(tracks, out, 1), write_json_lines])
def test_each_row_is_written_before_the_next_is_read(write):
    out = io.StringIO()
    written = []

    def tracks():
        for track in rows():
            written.append(len(out.getvalue().splitlines()))
            yield track

    write(tracks(), out)
    assert [count - written[0] for count in written] == [0, 1, 2, 3]
