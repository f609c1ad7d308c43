"""Writes the sections of docs/evaluation.md on the world genres."""

from __future__ import annotations

from collections.abc import Mapping

from ccmusic.scoring.markdown import table
from ccmusic.training.world_measures import WORLD_PRECISION, WorldMeasures


def world_sections(
    world: WorldMeasures, source: Mapping[str, tuple[float, float, float]], pictures: Mapping[str, str]
) -> str:
    """Write the sections on the world genres.

    Parameters
    ----------
    world : WorldMeasures
    source : mapping of str to tuple of float
        As `ccmusic.training.world_measures.guess_source` returns it.
    pictures : mapping of str to str
        Relative path of the picture `reliability-world`.

    Returns
    -------
    str
        Markdown.
    """
    genres = table(
        ["genre", "clips tested", "artists", "other labels trained on", "F1", "recall", "in top 3"], world.genres
    )
    probes = table(
        ["clips", "from the embedding", "from the teachers' outputs", "largest source"],
        [[name, *map(_share, values)] for name, values in source.items()],
    )
    return f"""## World genres

The same networks also name 16 genres of another list (`taxonomy=world`). The labels are per artist
(`world_artists.txt`), from AllMusic tags (`tag`), Emotify folders (`folder`) and ccMusic genres that are within a world
genre (`genre`), all without listening. The target of every clip is a mix of its label and a cross-fitted probe on the
outputs of the teachers. The test clips, each with its fold held out, are those of listed artists, and for Classical the
game scores and the folder of that name. Mean recall gives every genre the same weight.

{_world_table(world)}
An answer has the flag `uncertain` below {world.uncertain["uncertain_below"]:.2f}, the lowest threshold at which
{WORLD_PRECISION:.0%} of the answers above it are right. Out of fold {world.uncertain["precision"]:.1%} of them are, and
they are {world.uncertain["coverage"]:.1%} of all.

![Reliability of the world genres]({pictures["reliability-world"]})

{genres}
The head of the other folds is also trained on the "clips tested". Genres with few of them, or with a low F1, depend on
the teachers: do not trust their names. Collections use the names Rap and Hip-Hop by habit, not by sound; the targets of
both are divided so that most answers are Hip-Hop.

## Can the source be recognised?

A linear probe on the embedding of the networks for recordings, fitted on their training clips, predicts the collection
of clips of unseen artists. mirex and taffc have much the same music, so there the probe recognises bandwidth, codec and
era.

{probes}
"""


def _share(value: float) -> str:
    return f"{value:.3f}"


def _world_table(world: WorldMeasures) -> str:
    rows = [
        [f"{seconds:g}", *(_share(values[name]) for name in ("top1", "top3", "balanced")),
         _share(values["ece_temperature_1"]), _share(values["ece_cross_fitted"]),
         f"{values['ece_by_chance']:.3f}, to {values['ece_by_chance_high']:.3f}"]
        for seconds, values in world.by_seconds.items()
    ]  # fmt: skip
    rows.append(
        ["30, probe on all teachers", *(_share(world.teachers[k]) for k in ("top1", "top3", "balanced")), "-", "-", "-"]
    )
    head = ["length (s)", "top-1", "top-3", "mean recall"]
    return table([*head, "ECE at temperature 1", "ECE cross-fitted", "of a calibrated one"], rows)
