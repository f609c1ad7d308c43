"""The second generation's part of docs/evaluation.md, behind what `ccmusic.training.page` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ccmusic.models.card import Card
from ccmusic.training.markdown import table
from ccmusic.training.second_report import WORLD_PRECISION, Lengths, WorldMeasures

MARKER = "## Second generation: short recordings and world genres\n"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _short_table(first: Card, short: Lengths) -> str:
    before = first.metrics["top1_16_by_seconds"]
    rows = [
        [f"{seconds:g}", _share(before[f"{seconds:g}"]) if f"{seconds:g}" in before else "-",
         *(_share(values[name]) for name in ("top1_16", "top5_16", "macro_f1_16", "top1_9", "top1_2")),
         _share(values["ece_temperature_1"]), _share(values["ece_cross_fitted"]),
         f"{short.temperatures[seconds]:.2f}"]
        for seconds, values in short.measures.items()
    ]  # fmt: skip
    head = ["length (s)", "top-1, 16, first network", "top-1, 16", "top-5, 16", "macro-F1, 16", "top-1, 9", "top-1, 2",
            "ECE at temperature 1", "ECE cross-fitted", "temperature"]  # fmt: skip
    return table(head, rows)


def _world_table(world: WorldMeasures) -> str:
    rows = [
        [f"{seconds:g}", *(_share(values[name]) for name in ("top1", "top3", "balanced")),
         _share(values["ece_temperature_1"]), _share(values["ece_cross_fitted"])]
        for seconds, values in world.lengths.measures.items()
    ]  # fmt: skip
    rows.append(
        ["30, probe on all teachers", *(_share(world.teachers[k]) for k in ("top1", "top3", "balanced")), "-", "-"]
    )
    return table(["length (s)", "top-1", "top-3", "mean recall", "ECE at temperature 1", "ECE cross-fitted"], rows)


def second_pages(
    docs: Path, first: Card, short: Lengths, world: WorldMeasures, source: Mapping[str, tuple[float, float, float]]
) -> None:
    """Append the second generation to evaluation.md, or replace what an earlier run appended.

    Parameters
    ----------
    docs : Path
    first : Card
        Of the first network.
    short, world
        What was measured.
    source : mapping of str to tuple of float
        As `ccmusic.training.second_report.guess_source` gives it.
    """
    page = docs / "evaluation.md"
    before = page.read_text(encoding="utf-8").partition(MARKER)[0].rstrip() if page.is_file() else ""
    genres = table(
        ["genre", "clips tested", "artists", "other labels trained on", "F1", "recall", "in top 3"], world.genres
    )
    probes = table(
        ["clips", "from the embedding", "from the teachers' outputs", "largest source"],
        [[name, *map(_share, values)] for name, values in source.items()],
    )
    text = f"""{MARKER}
Written by `python -m ccmusic.training.second`. Version 2.0.0 holds three networks in one graph. The network of the
sections above answers for windows longer than a second as it did in 1.0.0 (its logits differ by rounding, 2e-6 at
most), so those figures stand. Two networks of the same kind are new, one trained on crops of 0.3 to 1 s, one on crops
of 2 to 10 s; both see the transform through a mel-like map, so that mn04's filters meet what they know. The first of
them answers up to 1 s, and both together name the world genres (0.35 and 0.65 of the logits).

### Recordings up to 1 s

Three crops of each of the labelled clips, out of fold, all clips pooled. The head is half the distilled one and half a
logistic regression on crops of the three lengths.

{_short_table(first, short)}
Of the 30-s accuracy, 0.3 s keep {_part(first, short, "top1_9")} at level 9 and
{_part(first, short, "top1_2")} at level 2; the goal was 85 %.

### World genres

Labels are per artist (`world_artists.txt`), from AllMusic tags (`tag`), Emotify folders (`folder`) and ccMusic genres
that lie within a world genre (`genre`); every clip's target is mixed with a cross-fitted probe on the teachers'
outputs. Nobody listened. Tested are, out of fold, clips of listed artists, and for Classical the game scores and the
folder of that name. Mean recall counts every genre alike.

{_world_table(world)}
Flag `uncertain`: below {world.uncertain["uncertain_below"]:.2f}, the lowest threshold at which
{WORLD_PRECISION:.0%} of the answers above it are right. Out of fold {world.uncertain["precision"]:.1%} of them are, and
they are {world.uncertain["coverage"]:.1%} of all.

{genres}
"Clips tested" are also what the head is trained on in the other folds. Genres with few of them, or with a low F1, lean
on the teachers: do not trust a name of Disco, Folk, Rap or World. Rap and Hip-Hop are told apart by the habits of
collections, not by sound; their targets are shared out so that most answers say Hip-Hop.

### Can the source be guessed?

A linear probe on the embedding of the network for crops of 2 to 10 s, fitted on its training clips, guesses the
collection of clips of unseen artists. mirex and taffc hold much the same music, so what is guessed there is bandwidth,
codec and era.

{probes}
The embedding tells less of the source than the teachers' outputs, which heard the audio, but more than nothing.
"""
    page.write_text(before + "\n\n" + text if before else text, encoding="utf-8")


def _part(first: Card, short: Lengths, measure: str) -> str:
    return f"{short.measures[0.3][measure] / first.metrics['out_of_fold'][measure]:.0%}"
