"""``ccmusic batch report``. tests/batch/report has the content, tests/e2e/test_library_report.py the page."""

from __future__ import annotations

from ccmusic.cli import main
from support.library_rows import answer, answered, failed, names_in, write_catalogue


def test_the_report_goes_into_the_folder_of_the_catalogue_or_where_it_is_wanted(tmp_path, capsys):
    rows = [answered(1, "/m/a.mp3", answer("Opera", 0.9, sure_level=16)), failed(2, "/m/b.mp3", "empty-audio", "none")]
    folder = write_catalogue(tmp_path / "labels", rows)
    assert main(["batch", "report", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}: 2 tracks\n"
    out = tmp_path / "new" / "page.html"
    assert main(["batch", "report", str(folder), "--out", str(out), "--quiet"]) == 0
    assert names_in(out.parent) == ["page.html"]
    assert "/m/a.mp3" in out.read_text("utf-8")
