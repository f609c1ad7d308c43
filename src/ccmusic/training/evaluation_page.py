"""Writes docs/evaluation.md and its pictures from the measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ccmusic.genres import LABELS, LEVELS
from ccmusic.scoring import figures
from ccmusic.scoring.classification import confusion_matrix, f1_by_class, in_top_k, recall_by_class
from ccmusic.scoring.levels import level_accuracy
from ccmusic.scoring.markdown import table
from ccmusic.training.configuration import RECORDINGS
from ccmusic.training.data import Dataset
from ccmusic.training.genre_measures import GenreMeasures
from ccmusic.training.predict import CLIP_SECONDS
from ccmusic.training.teachers import PROBE_C, SINGLE_C
from ccmusic.training.world_measures import WorldMeasures
from ccmusic.training.world_section import world_sections


def write_page(
    docs: Path, dataset: Dataset, genres: GenreMeasures, world: WorldMeasures,
    source: Mapping[str, tuple[float, float, float]],
) -> None:  # fmt: skip
    """Write evaluation.md and its pictures.

    Parameters
    ----------
    docs : Path
        Directory for the page and ``images/``.
    dataset : Dataset
    genres : GenreMeasures
    world : WorldMeasures
    source : mapping of str to tuple of float
        As `ccmusic.training.world_measures.guess_source` returns it.
    """
    drawn = ("confusion", "lengths", "reliability", "reliability-short", "reliability-world")
    names = {name: f"images/evaluation-{name}.png" for name in drawn}
    figures.confusion(genres.reference, genres.after, docs / names["confusion"])
    curve = {level: dict(zip(CLIP_SECONDS, shares, strict=True)) for level, shares in genres.curve.items()}
    figures.clip_lengths(curve, genres.probe_curve, docs / names["lengths"])
    figures.reliability(genres.reference, genres.before, genres.after, docs / names["reliability"])
    figures.reliability(*genres.short, docs / names["reliability-short"])
    figures.reliability(world.reference, world.before, world.after, docs / names["reliability-world"])
    page = _genre_sections(dataset, genres, names) + "\n" + world_sections(world, source, names)
    (docs / "evaluation.md").write_text(page, encoding="utf-8")


def _genre_sections(dataset: Dataset, genres: GenreMeasures, pictures: dict[str, str]) -> str:
    n_clips, n_folds = len(genres.reference), len(np.unique(genres.fold))
    n_artists = len(set(dataset.artist[genres.rows]))
    temperatures = ", ".join(f"{t:.2f} at {s:g} s" for s, t in sorted(genres.temperatures.items()))
    uncertain = genres.uncertain
    groups = "; ".join(f"{level}: {a:.3f} right of {n} clips" for level, (a, n) in genres.groups_only.items())
    return f"""# Evaluation of the embedded model

Written by `python -m ccmusic.training`. Every number comes from predictions for clips of a fold that was held
out: neither the networks nor their targets (labels, outputs of teachers, soft targets) used it.

## What is measured

{n_clips} labelled clips of 30 s by {n_artists} artists, out of {len(dataset)} clips; {n_folds} folds, no artist in two.
**The labels are weak**: this project assigned them per artist or by the form of a work, without listening, and with
proxies for genres of which there was no clip. The numbers measure agreement with these labels, not with listeners.
A clip is processed like a track in the service: the mean of the logits of {len(RECORDINGS)} networks, 10-s windows,
calibrated softmax, mean over the windows; levels 9 and 2 are sums over the 16. Cells are "mean ± standard deviation
over the folds (all clips pooled)".

{_systems_table(genres)}
The teachers are linear probes on the same folds: logistic regression on standardised mean outputs, C = {PROBE_C} for
all three together and {SINGLE_C} for one. Their input is audio at 16 or 32 kHz; that of the network is 84
semitones up to 3,951 Hz. The ECE of the probes is that of their own probabilities; that of the network is cross-fitted
(see Calibration).

## Genres

{_classes_table(dataset, genres)}
`artist`: every clip of an artist has the genre of the artist; `form`: the title names the form (sonata, quartet);
`proxy`: the clip replaces a genre of which there was none. **Opera has no opera** (but sacred and art song),
**Symphony is nearly all film and game scores**, and **Teen pop and Opera have very few clips and artists**. With
fewer than about 30 clips, a few of them change an F1 by 0.1.

![Confusion]({pictures["confusion"]})

## Sources

{_sources_table(dataset, genres)}
Real classical music comes nearly all from one source, so a network could answer level 2 by recognising the source. The
clips of which only the group is known test this: they are pop, rock and electronic music from that same source.
{groups or "There are none in these folds"}.

## Length of the recording

Three crops of each clip, each relative to its own maximum, as in a recording of that length; 30 s is the whole clip.
Up to 1.5 s another network answers, which was trained on crops of 0.3 to 1 s.

{_lengths_table(genres)}
![Length]({pictures["lengths"]})

A recording has the flag `too_short` if it is shorter than the shortest tested length that keeps four fifths of the
30-s top-1 accuracy at 16 genres, here {genres.too_short_below_seconds:g} s.

## Calibration

Temperatures by length of the recording: {temperatures}.
Each minimises the log loss of the answers for whole recordings over the pooled out-of-fold predictions. Between these
lengths the temperature is interpolated; beyond 30 s the last one applies. "Cross-fitted" means fitted on the other
folds and measured on the one left out; "as shipped" is measured on the data that it was fitted on. The shipped network
is trained on all clips, so it has no out-of-fold predictions of its own and uses these temperatures. "Of a calibrated
one" is the ECE of a perfectly calibrated network, by chance alone, on this number of clips: the mean and the 95th
percentile over draws in which every answer is right with the probability that it states. (Three crops of one clip are
alike, so for those lengths chance gives more than the table shows.) An error within that range is no evidence of a
wrong temperature.

![Reliability]({pictures["reliability"]})

The same for recordings of 1 s:

![Reliability at 1 s]({pictures["reliability-short"]})

An answer has the flag `uncertain` if the largest probability is below {uncertain["uncertain_below"]:.2f}, the lowest
threshold at which 60 % of the answers above it are right (or the threshold with the best share). Out of fold,
{uncertain["precision"]:.1%} of the answers without the flag are right, and they are {uncertain["coverage"]:.1%} of all.

`sure_level` of an answer is the finest level at which the most probable group reaches the threshold of that level. Each
threshold is the lowest, from 0.7 upwards, at which 80 % of the answers at or above it are right (95 % at level 2).

{_sure_table(genres)}
## What limits these numbers

- Weak labels: artists change genres, and the labels were given without listening. Even linear probes on three networks
  that were trained on hundreds of thousands of tracks agree with the labels for little more than half of the clips.
- Similar genres overlap in sound: soft rock and adult contemporary, the two dance pops, indie and chamber pop.
- {n_clips} labelled clips for 16 genres; in some folds a class has one artist only, hence the spread between folds.
- Because of the proxies, the network learns something other than the names Symphony and Opera mean.
- The music is mostly Western, from before 2000, and from four collections.
- The spectrogram ends below 4 kHz: it lacks most of what distinguishes the pop genres, such as cymbals, breath and the
  brightness of a production.
- The configurations of the networks and the kind of their heads were chosen by their results on these folds, among the
  families of docs/experiments.md. The figures may therefore be slightly too good.
"""


def _systems_table(genres: GenreMeasures) -> str:
    measures = ("top1_16", "top5_16", "macro_f1_16", "top1_9", "top5_9", "macro_f1_9", "top1_2", "macro_f1_2")
    names = ("top-1, 16", "top-5, 16", "macro-F1, 16", "top-1, 9", "top-5, 9", "macro-F1, 9", "top-1, 2", "macro-F1, 2")
    head = ["", *(system.name for system in genres.systems)]
    rows: list[list[object]] = [
        [name, *(system.spread(measure) for system in genres.systems)]
        for name, measure in zip(names, measures, strict=True)
    ]
    rows.append(["ECE, 16 (pooled)", *(f"{system.pooled['ece_16']:.3f}" for system in genres.systems)])
    return table(head, rows)


def _classes_table(dataset: Dataset, genres: GenreMeasures) -> str:
    rows = genres.rows
    confusion = confusion_matrix(genres.reference, genres.after)
    f1, recall = f1_by_class(confusion), recall_by_class(confusion)
    top5 = in_top_k(genres.reference, genres.after, 5)
    out = []
    for index, label in enumerate(LABELS):
        mine = genres.reference == index
        if not mine.any():
            continue
        bases = Counter(dataset.basis[rows[mine]].tolist()).most_common()
        sources = Counter(dataset.source[rows[mine]].tolist()).most_common()
        out.append([
            label.replace("_", " "),
            int(mine.sum()),
            len(set(dataset.artist[rows[mine]])),
            ", ".join(f"{name} {count}" for name, count in bases),
            ", ".join(f"{name} {count}" for name, count in sources),
            f"{f1[index]:.2f}",
            f"{recall[index]:.2f}",
            f"{top5[mine].mean():.2f}",
        ])  # fmt: skip
    return table(["genre", "clips", "artists", "basis of the labels", "sources", "F1", "recall", "in top 5"], out)


def _sources_table(dataset: Dataset, genres: GenreMeasures) -> str:
    out = []
    source = dataset.source[genres.rows]
    for name in sorted(set(source)):
        mine = source == name
        reference, probabilities = genres.reference[mine], genres.after[mine]
        out.append(
            [name, int(mine.sum()), *(f"{level_accuracy(reference, probabilities, level):.3f}" for level in LEVELS)]
        )
    return table(["source", "labelled clips", "top-1, 16", "top-1, 9", "top-1, 2"], out)


def _lengths_table(genres: GenreMeasures) -> str:
    head = [
        "length (s)",
        *(f"top-1, {level}" for level in LEVELS),
        "top-5, 16",
        "macro-F1, 16",
        *(f"kept of 30 s, {level}" for level in LEVELS),
        "ECE at temperature 1",
        "ECE cross-fitted",
        "ECE as shipped",
        "of a calibrated one",
    ]
    rows = [
        [
            f"{s:g}",
            *(f"{genres.curve[level][i]:.3f}" for level in LEVELS),
            *(f"{genres.by_seconds[s][name]:.3f}" for name in ("top5_16", "macro_f1_16")),
            *(f"{genres.curve[level][i] / genres.curve[level][-1]:.0%}" for level in LEVELS),
            *(f"{e:.3f}" for e in genres.ece[s][:3]),
            "{3:.3f}, to {4:.3f}".format(*genres.ece[s]),
        ]
        for i, s in enumerate(CLIP_SECONDS)
    ]
    inputs = [
        [{5.0: "one window (5 s, 3 s)", 10.0: "10 s and 9 s", 30.0: "all"}[s],
         *(f"{genres.probe_curve[level][s]:.3f}" for level in LEVELS)]
        for s in (5.0, 10.0, 30.0)
    ]  # fmt: skip
    probe = table(["input of the teachers' probe", *(f"top-1, {level}" for level in LEVELS)], inputs)
    return table(head, rows) + "\n" + probe


def _sure_table(genres: GenreMeasures) -> str:
    rows = [
        [level, f"{values['threshold']:.2f}", f"{values['precision']:.1%}", f"{values['coverage']:.1%}"]
        for level, values in genres.sure.items()
    ]
    return table(["level", "probability at least", "of these, right", "of all answers"], rows)
