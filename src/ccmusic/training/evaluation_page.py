"""docs/evaluation.md, made of the measures of `ccmusic.training.out_of_fold`."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ccmusic.genres import LABELS, LEVELS
from ccmusic.scoring.classification import confusion_matrix, f1_by_class, in_top_k, recall_by_class
from ccmusic.scoring.levels import level_accuracy
from ccmusic.scoring.markdown import table
from ccmusic.training.configuration import RECORDINGS
from ccmusic.training.data import Dataset
from ccmusic.training.distil import PROBE_C, SINGLE_C
from ccmusic.training.out_of_fold import Evaluation
from ccmusic.training.predict import CLIP_SECONDS


def _systems_table(evaluation: Evaluation) -> str:
    measures = ("top1_16", "top5_16", "macro_f1_16", "top1_9", "top5_9", "macro_f1_9", "top1_2", "macro_f1_2")
    names = ("top-1, 16", "top-5, 16", "macro-F1, 16", "top-1, 9", "top-5, 9", "macro-F1, 9", "top-1, 2", "macro-F1, 2")
    head = ["", *(system.name for system in evaluation.systems)]
    rows: list[list[object]] = [
        [name, *(system.spread(measure) for system in evaluation.systems)]
        for name, measure in zip(names, measures, strict=True)
    ]
    rows.append(["ECE, 16 (pooled)", *(f"{system.pooled['ece_16']:.3f}" for system in evaluation.systems)])
    return table(head, rows)


def _classes_table(dataset: Dataset, evaluation: Evaluation) -> str:
    rows = evaluation.rows
    confusion = confusion_matrix(evaluation.reference, evaluation.after)
    f1, recall = f1_by_class(confusion), recall_by_class(confusion)
    top5 = in_top_k(evaluation.reference, evaluation.after, 5)
    out = []
    for index, label in enumerate(LABELS):
        mine = evaluation.reference == index
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


def _sources_table(dataset: Dataset, evaluation: Evaluation) -> str:
    out = []
    source = dataset.source[evaluation.rows]
    for name in sorted(set(source)):
        mine = source == name
        reference, probabilities = evaluation.reference[mine], evaluation.after[mine]
        out.append(
            [name, int(mine.sum()), *(f"{level_accuracy(reference, probabilities, level):.3f}" for level in LEVELS)]
        )
    return table(["source", "labelled clips", "top-1, 16", "top-1, 9", "top-1, 2"], out)


def _lengths_table(evaluation: Evaluation) -> str:
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
            *(f"{evaluation.curve[level][i]:.3f}" for level in LEVELS),
            *(f"{evaluation.by_seconds[s][name]:.3f}" for name in ("top5_16", "macro_f1_16")),
            *(f"{evaluation.curve[level][i] / evaluation.curve[level][-1]:.0%}" for level in LEVELS),
            *(f"{e:.3f}" for e in evaluation.ece[s][:3]),
            "{3:.3f}, to {4:.3f}".format(*evaluation.ece[s]),
        ]
        for i, s in enumerate(CLIP_SECONDS)
    ]
    heard = [
        [{5.0: "one window (5 s, 3 s)", 10.0: "10 s and 9 s", 30.0: "all"}[s],
         *(f"{evaluation.probe_curve[level][s]:.3f}" for level in LEVELS)]
        for s in (5.0, 10.0, 30.0)
    ]  # fmt: skip
    probe = table(["the teachers' probe hears", *(f"top-1, {level}" for level in LEVELS)], heard)
    return table(head, rows) + "\n" + probe


def _sure_table(evaluation: Evaluation) -> str:
    rows = [
        [level, f"{values['threshold']:.2f}", f"{values['precision']:.1%}", f"{values['coverage']:.1%}"]
        for level, values in evaluation.sure.items()
    ]
    return table(["level", "probability at least", "of these, right", "of all answers"], rows)


def evaluation_page(dataset: Dataset, evaluation: Evaluation, pictures: dict[str, str]) -> str:
    """Write docs/evaluation.md.

    Parameters
    ----------
    dataset : Dataset
    evaluation : Evaluation
    pictures : dict of str to str
        Relative paths of the pictures `confusion`, `lengths`, `reliability` and `reliability-short`.

    Returns
    -------
    str
        Markdown.
    """
    n_clips, n_folds = len(evaluation.reference), len(np.unique(evaluation.fold))
    n_artists = len(set(dataset.artist[evaluation.rows]))
    temperatures = ", ".join(f"{t:.2f} at {s:g} s" for s, t in sorted(evaluation.temperatures.items()))
    uncertain = evaluation.uncertain
    groups = "; ".join(f"{level}: {a:.3f} right of {n} clips" for level, (a, n) in evaluation.groups_only.items())
    return f"""# Evaluation of the embedded model

Written by `python -m ccmusic.training`. Every number is made from predictions for clips in a fold that neither the
networks nor anything that they learnt from (labels, outputs of teachers, soft targets) have seen.

## What is measured

{n_clips} labelled clips of 30 s by {n_artists} artists, out of {len(dataset)} clips; {n_folds} folds, no artist in two.
**The labels are weak**: this project gave them per artist or from a work's form, without listening, with stand-ins
where the real thing was missing. The numbers say how well the network agrees with that labelling, not with listeners.
A clip is heard as the service hears a track: the mean of the logits of {len(RECORDINGS)} networks, 10-s windows,
calibrated softmax, mean over the windows; levels 9 and 2 are sums over the 16. Cells are "mean ± standard deviation
over the folds (all clips pooled)".

{_systems_table(evaluation)}
The teachers are linear probes on the same folds: logistic regression on standardised mean outputs, C = {PROBE_C} for
all three together and {SINGLE_C} for one. They heard the audio at 16 or 32 kHz; the network hears 84 semitones up to
3,951 Hz. The probes' ECE is that of their own probabilities; the network's is cross-fitted (see Calibration).

## Genres

{_classes_table(dataset, evaluation)}
`artist`: every clip of an artist got the artist's genre; `form`: the title names the form (sonata, quartet);
`proxy`: the clip stands in for a genre of which there was none. **Opera holds no opera** (sacred and art song),
**Symphony is nearly all film and game scores**, and **Teen pop and Opera rest on very few clips and artists**. With
fewer than about 30 clips an F1 moves by 0.1 on a handful of them.

![Confusion]({pictures["confusion"]})

## Sources

{_sources_table(dataset, evaluation)}
Real classical music comes nearly all from one source, so level 2 could be answered by recognising the source. The
clips of which only the group is known check this: they are pop, rock and electronic music out of that same source.
{groups or "There are none in these folds"}.

## Length of the recording

Three crops of each clip, each relative to its own maximum, as a recording of that length would be; 30 s is the clip.
Up to 1.5 s another network answers, which was trained on crops of 0.3 to 1 s.

{_lengths_table(evaluation)}
![Length]({pictures["lengths"]})

Rule for the flag `too_short`: shorter than the shortest tested length that keeps four fifths of the 30-s top-1
accuracy at 16 genres, here {evaluation.too_short_below_seconds:g} s.

## Calibration

Temperatures by length of the recording: {temperatures}.
Each minimises the log loss of the recording's answer over the pooled out-of-fold predictions; between them it is
interpolated, and beyond 30 s the last holds. "Cross-fitted" means fitted on the other folds and measured on the one
left out; "as shipped" is measured on what it was fitted on. The shipped network is trained on all clips, so it has no
out-of-fold predictions of its own and takes these temperatures over. "Of a calibrated one" is the ECE that chance alone
gives on so few clips: the mean, and what it exceeds once in 20, over draws in which every answer is right with the
probability that it states (three crops of one clip resemble one another, so for those lengths chance gives more than is
told). An error within that range is no evidence of a wrong temperature.

![Reliability]({pictures["reliability"]})

The same for recordings of 1 s:

![Reliability at 1 s]({pictures["reliability-short"]})

Flag `uncertain`: the largest probability lies below {uncertain["uncertain_below"]:.2f}, the lowest threshold at which
60 % of the answers above it are right (or the best that is reached). Out of fold, {uncertain["precision"]:.1%} of the
answers without the flag are right, and they are {uncertain["coverage"]:.1%} of all.

An answer stops at the finest level that it is sure of (`sure_level`): there its likeliest group must be so probable.
The thresholds are the lowest, from 0.7 upwards, at which 80 % of the answers at or above them are right (95 % at
level 2).

{_sure_table(evaluation)}
## What bounds these numbers

- Weak labels: artists move between genres, and nobody listened. Even linear probes on three networks that were trained
  on hundreds of thousands of tracks agree with the labelling in little more than half of the clips.
- Neighbouring leaves overlap in sound: soft rock and adult contemporary, the two dance pops, indie and chamber pop.
- {n_clips} labelled clips for 16 genres; in some folds one artist carries a class, hence the spread between folds.
- Proxies teach Symphony and Opera something else than their names say.
- The music is mostly Western, from before 2000, and from four collections.
- The spectrogram ends below 4 kHz: cymbals, breath and the sheen of a production, which tell the pop leaves apart, are
  mostly out of its sight.
- The networks' configurations and the kind of their heads were chosen by looking at these folds, among the families of
  docs/experiments.md. So the figures may be slightly too good.
"""
