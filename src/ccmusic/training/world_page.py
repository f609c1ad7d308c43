"""The world genres' part of docs/evaluation.md, behind what `ccmusic.training.evaluation_page` writes."""

from __future__ import annotations

from collections.abc import Mapping

from ccmusic.scoring.markdown import table
from ccmusic.training.world_measures import WORLD_PRECISION, WorldMeasures


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


def world_section(
    world: WorldMeasures, source: Mapping[str, tuple[float, float, float]], pictures: Mapping[str, str]
) -> str:
    """Write what was measured of the world genres.

    Parameters
    ----------
    world : WorldMeasures
    source : mapping of str to tuple of float
        As `ccmusic.training.world_measures.guess_source` gives it.
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

The same networks name 16 genres of another list (`taxonomy=world`). Labels are per artist (`world_artists.txt`), from
AllMusic tags (`tag`), Emotify folders (`folder`) and ccMusic genres that lie within a world genre (`genre`); every
clip's target is mixed with a cross-fitted probe on the teachers' outputs. Nobody listened. Tested are, out of fold,
clips of listed artists, and for Classical the game scores and the folder of that name. Mean recall counts every genre
alike.

{_world_table(world)}
Flag `uncertain`: below {world.uncertain["uncertain_below"]:.2f}, the lowest threshold at which
{WORLD_PRECISION:.0%} of the answers above it are right. Out of fold {world.uncertain["precision"]:.1%} of them are, and
they are {world.uncertain["coverage"]:.1%} of all.

![Reliability of the world genres]({pictures["reliability-world"]})

{genres}
"Clips tested" are also what the head is trained on in the other folds. Genres with few of them, or with a low F1, lean
on the teachers: do not trust their names. Rap and Hip-Hop are told apart by the habits of collections, not by sound;
their targets are shared out so that most answers say Hip-Hop.

## Can the source be guessed?

A linear probe on the embedding of the networks for recordings, fitted on their training clips, guesses the collection
of clips of unseen artists. mirex and taffc hold much the same music, so what is guessed there is bandwidth, codec and
era.

{probes}
"""
