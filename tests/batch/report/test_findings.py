"""What the report counts."""

from __future__ import annotations

import pytest

from ccmusic.batch.exports import answer_of
from ccmusic.batch.report import findings
from ccmusic.batch.report.findings import N_BINS, Findings, shown, taxonomy_of_answer
from ccmusic.batch.track_row import TrackRow
from ccmusic.genres import CCMUSIC, WORLD, taxonomy_of
from support.catalogue_rows import answer, answered, failed


def counted(*tracks, taxonomy=CCMUSIC):
    found = Findings(taxonomy)
    seen = [found.add(track, answer_of(track)) for track in tracks]
    return found, seen


def test_each_level_has_its_own_counts():
    found, (seen, _, _) = counted(
        answered(1, "/a", answer("Soft_rock", 0.9, sure_level=16, duration_seconds=100)),
        answered(2, "/b", answer("Opera", 0.4, sure_level=2, duration_seconds=10)),
        answered(3, "/c", answer("Opera", 0.3, duration_seconds=1, flags=("uncertain",)), same_as=1),
    )
    finest, middle, coarsest = found.levels
    rock, opera = CCMUSIC.labels.index("Soft_rock"), CCMUSIC.labels.index("Opera")
    assert (finest.sure[rock], finest.unsure[opera], sum(finest.sure), sum(finest.unsure)) == (1, 2, 1, 2)
    assert (sum(middle.sure), sum(middle.unsure)) == (1, 2)
    assert (coarsest.sure, coarsest.unsure) == ([1, 1], [1, 0])
    assert finest.seconds[opera] == 11
    assert (found.n_sure, found.n_unsure, found.n_same, found.seconds) == (2, 1, 1, 111)
    assert found.flags == {"uncertain": 1}
    assert [genres[group].label for genres, group in zip(CCMUSIC.levels, seen.groups, strict=True)] == [
        "Soft_rock",
        "Rock",
        "Non_classic",
    ]


@pytest.mark.parametrize(("probability", "bin_"), [(0.5, 10), (0.999, 19), (1.0, 19)])
def test_the_histogram_has_every_probability(probability, bin_):
    found, _ = counted(answered(1, "/a", answer("Opera", probability, sure_level=16)))
    assert [i for i in range(N_BINS) if found.levels[0].sure_bins[i]] == [bin_]
    assert sum(found.levels[0].unsure_bins) == 0


def test_failures_are_counted_by_reason_with_a_few_files(monkeypatch):
    monkeypatch.setattr(findings, "MOST_EXAMPLES", 2)
    monkeypatch.setattr(findings, "MOST_REASONS", 2)
    found, _ = counted(
        *[failed(i, f"/{i}", "undecodable-audio", "broken") for i in range(3)],
        TrackRow(4, b"/4", "/4", "skipped", error_detail="a pipe"),
        failed(5, "/5", "another", "x"),
        TrackRow(6, b"/6", "/6", "waiting"),
    )
    assert found.reasons == {"undecodable-audio": 3, "skipped": 1, "other": 1}
    assert found.examples["undecodable-audio"] == [("/0", "broken"), ("/1", "broken")]
    assert found.examples["skipped"] == [("/4", "a pipe")]
    assert found.statuses == {"failed": 4, "skipped": 1, "waiting": 1}


def test_what_is_no_music_is_sure_of_nothing():
    found, (seen,) = counted(answered(1, "/a", answer("Opera", 0.9, sure_level=16, odd="speech")))
    assert (seen.sure_level, found.odd, sum(found.levels[0].sure)) == (0, {"speech": 1}, 0)


def test_what_a_plan_does_not_write_counts_as_not_sure():
    found, _ = counted(
        answered(1, "/a", answer("Opera", 0.9, sure_level=16), status="stale"),
        answered(2, "/b", answer("Opera", 0.9, sure_level=16, flags=("too_short",))),
        answered(3, "/c", answer("Opera", 0.9, sure_level=16), status="skipped"),
        answered(4, "/d", answer("Opera", 0.9, sure_level=16), status="waiting"),
    )
    assert (found.n_sure, found.n_unsure, found.seconds) == (0, 2, 60)


def test_answers_in_other_genres_are_only_counted():
    own = taxonomy_of("own", ("a", "b"))
    tracks = [answered(1, "/a", answer("Jazz", 0.9, WORLD)), answered(2, "/b", answer("a", 0.9, own))]
    found, seen = counted(*tracks)
    assert (found.n_other, seen, sum(found.levels[0].unsure)) == (2, [None, None], 0)
    found, seen = counted(*tracks, taxonomy=taxonomy_of("own", ("b", "c")))
    assert (found.n_other, seen) == (2, [None, None])


def test_a_taxonomy_has_every_label_of_the_answer():
    assert taxonomy_of_answer(answer("Opera", 0.5)) == CCMUSIC
    assert taxonomy_of_answer(answer("b", 0.5, taxonomy_of("own", ("b", "a")))).labels == ("a", "b")


def test_a_name_is_valid_text_on_one_line():
    assert shown("a\n\u202e\udce9</script>") == "a\\n\\u202e\\udce9</script>"
    assert len(shown("x" * 5000)) < 400
