"""What is known about a library and its newest run."""

from __future__ import annotations

from pathlib import Path

from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.run_lock import only_run
from ccmusic.batch.status import status_of
from ccmusic.batch.track_row import TrackRow


def test_the_rate_of_a_run_is_the_mean_since_its_start(tmp_path: Path) -> None:
    with Catalogue.open(tmp_path) as catalogue:
        catalogue.begin_run({}, "ccmusic batch")
        with catalogue.transaction():
            for number in range(1, 7):
                catalogue.record(TrackRow(number, b"/%d" % number, f"/{number}", "waiting"))
            catalogue.connection.execute(
                "UPDATE runs SET started_at = '2026-01-01T00:00:00+00:00', updated_at = '2026-01-01T00:00:10+00:00', "
                "analysed = 20"
            )
    run = status_of(tmp_path)["run"]
    assert (run["mean_tracks_per_second"], run["mean_seconds_left"]) == (2.0, None)
    with only_run(tmp_path):
        run = status_of(tmp_path)["run"]
    assert (run["mean_tracks_per_second"], run["mean_seconds_left"]) == (2.0, 3)
    assert {"tracks_per_second", "seconds_left"} & set(run) == set()  # those of a running command, over two minutes
