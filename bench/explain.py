"""Measure the time of an explanation, and whether the explained parts change the answer.

::

    python bench/explain.py --audio DIR ... [--model embedded] [--write docs/explain.md]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported, so set before

import argparse
import platform
import statistics
import time
from pathlib import Path

import numpy as np

from ccmusic.audio.decode import decode
from ccmusic.audio.formats import AUDIO_SUFFIXES
from ccmusic.inference.aggregate import analysed_seconds, window_probabilities
from ccmusic.inference.occlusion import BLOCKS, DRAWN_BLOCKS, ExplainPlan, quiet_copies
from ccmusic.inference.pipeline import Pipeline
from ccmusic.models.store import locate

PARTS = (3, 7, 14)
"""Numbers of parts that are made quiet together."""
DRAWS = 20


def without(
    pipeline: Pipeline, window_db: np.ndarray, genre: int, chosen: list[np.ndarray], seconds: float
) -> list[float]:
    """The genre's probability for each choice of parts that are made quiet together."""
    copies, _ = quiet_copies(window_db, BLOCKS)
    # each copy differs from the window in one part, which is quieter
    windows = [np.min([copies[part] for part in parts], axis=0) for parts in chosen]
    logits = pipeline.network.logits(windows)[0]  # of the 16 genres
    return window_probabilities(logits, seconds, pipeline.card)[:, genre].tolist()


def page(options: argparse.Namespace) -> str:
    pipeline = Pipeline.load(locate(options.model))
    files = sorted(
        path for folder in options.audio for path in folder.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES
    )
    generator = np.random.default_rng(1)
    load = os.getloadavg()[0]  # before this measurement
    plain, explained = [], []
    shares: dict[int, list[tuple[float, float, float, float]]] = {n: [] for n in PARTS}
    n_named = 0
    for path in files:
        recording = path.read_bytes()
        started = time.perf_counter()
        result = pipeline.classify(recording)
        plain.append(time.perf_counter() - started)
        started = time.perf_counter()
        (explanation,) = pipeline.classify(recording, explain=ExplainPlan()).explanations
        explained.append(time.perf_counter() - started - plain[-1])
        n_named += "no part decides" not in explanation.text()
        genre = pipeline.card.labels.index(explanation.genre.label)
        spectrogram = pipeline.network.front_end.spectrogram_db(decode(recording).waveform)
        places = pipeline.network.front_end.places(spectrogram.shape[1], result.duration_seconds, None)
        window_db = spectrogram[:, slice(*places[explanation.window])]
        seconds = analysed_seconds(result.duration_seconds, len(places), pipeline.card)
        order = np.argsort(-explanation.evidence, axis=None)
        for n in PARTS:
            draws = [generator.choice(order, n, replace=False) for _ in range(DRAWS)]
            chosen = [order[:n], order[-n:], *draws]
            strongest, weakest, *random = without(pipeline, window_db, genre, chosen, seconds)
            shares[n].append((explanation.probability, strongest, statistics.mean(random), weakest))
    rows = "\n".join(
        f"| {n} of 70 | " + " | ".join(f"{value:.1%}" for value in np.mean(shares[n], axis=0)) + " |" for n in PARTS
    )
    return PAGE.format(
        n_files=len(files),
        n_named=n_named,
        plain=1000 * statistics.median(plain),
        each=1000 * statistics.median(explained),
        worst=1000 * max(explained),
        blocks=BLOCKS,
        parts=7 * BLOCKS,
        drawn=7 * DRAWN_BLOCKS,
        rows=rows,
        cores=os.cpu_count(),
        load=load,
        python=platform.python_version(),
    )


PAGE = """# Why this genre

Written by `python bench/explain.py`. `ccmusic explain FILE`, `POST /v1/classify?explain=true` and the page's panel
"Why this genre?" show which part of a window supports a genre. A window is divided into seven octaves and {blocks}
stretches of time; each part in turn is made as quiet as the quietest tenth of the window, and the network is run again
(occlusion; Zeiler and Fergus 2014). The answer has the probability without each part:
{parts} numbers that the network itself computed. No gradient is needed, so every network on the constant-Q transform
can be explained; a network that takes a drawing of it runs {drawn} times, with fewer time blocks.

* `explain=true` adds `saliency` to the windows with the highest probability of the track's genre, at most
  `CCMUSIC_EXPLAIN_WINDOWS` (3).
* `ccmusic explain FILE --window 2 --genre Soft_rock --out why.png` explains another window, another genre; `.json` has
  every number.
* The sentence names a register (bass to 131 Hz, middle to 1,047 Hz, high notes) only if it has 40 % of the positive
  evidence, and a time only if half of the register's evidence is within 30 % of the window. Otherwise it states that no
  part decides.

An explanation is not a cause in the music. It shows the reaction of this network to one part at a time. Parts with the
same content, such as a continuous bass line, each seem to matter little.

## Cost

One thread of the machine of this measurement ({cores} cores with a load of {load:.1f} by other work, Python
{python}), {n_files} recordings: classification takes {plain:.0f} ms (median), each explained window
{each:.0f} ms more (at most {worst:.0f} ms). It runs in the worker, under the job's deadline. Networks that take
drawings were not measured; each of their {drawn} runs takes as long as one classification.

## Do explanations agree with the network?

In the window with the highest probability of each recording, several parts are made quiet together, chosen by their
evidence or at random ({n_files}
recordings, 20 draws each). Mean probability of the genre:

| quiet parts | none | most evidence for the genre | random | most evidence against it |
|---|---|---|---|---|
{rows}

A register is named for {n_named} of the {n_files}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    text = page(options)
    if options.write is None:
        print(text)
    else:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
