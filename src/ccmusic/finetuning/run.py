"""One run from recordings to a model directory; each stage leaves its result on disk for the next."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ccmusic.audio.decode import DecodeLimits
from ccmusic.errors import InvalidParameter
from ccmusic.evaluation.labelled_data import LabelledData
from ccmusic.finetuning.base_model import BaseModel
from ccmusic.finetuning.early_stopping import EarlyStopping
from ccmusic.finetuning.excerpts import run_network
from ccmusic.finetuning.graph import with_head
from ccmusic.finetuning.head import Examples, Head, fit_head
from ccmusic.finetuning.packaging import calibrate_and_measure, mean_probabilities, write_model
from ccmusic.finetuning.plan import Plan, Tune
from ccmusic.finetuning.training_set import TrainingSet, read_training_set
from ccmusic.inference.backend import Device
from ccmusic.inference.onnx_runtime import OnnxBackend
from ccmusic.models.card import Card
from ccmusic.models.card_parts import Training

RUN_FILE = "run.json"
HELD_OUT_FILE = "held-out.csv"
CHECKPOINTS: dict[Tune, str] = {"head": "head.npz", "all": "all.pt"}


@dataclass(frozen=True)
class Run:
    """The request for one run.

    Attributes
    ----------
    source : str
        The data, as the caller named them.
    data : LabelledData
    start : BaseModel
    plan : Plan
    work, out : Path
        Directory of intermediate results, and the model directory to make.
    name : str
        Name of the new model.
    resume : bool
        Resume the run in `work`.
    jobs : int
    limits : DecodeLimits
    device : {"auto", "cpu", "cuda"}
        Device on which every weight is tuned.
    quiet : bool
        No progress bars.
    """

    source: str
    data: LabelledData
    start: BaseModel
    plan: Plan
    work: Path
    out: Path
    name: str
    resume: bool
    jobs: int
    limits: DecodeLimits
    device: Device
    quiet: bool


def execute(run: Run, tell: Callable[[str], object]) -> tuple[Card, TrainingSet]:
    """Train the model and write its directory.

    Parameters
    ----------
    run : Run
    tell : callable
        Called with messages for the user.

    Returns
    -------
    card : Card
    training_set : TrainingSet

    Raises
    ------
    InvalidParameter, ModelError
    """
    begun = time.monotonic()
    run.work.mkdir(parents=True, exist_ok=True)
    with _bar(run, len(run.data), "recording", "spectrograms") as bar:
        training_set = read_training_set(
            run.data,
            run.start.card,
            run.plan,
            run.work / "spectrograms",
            jobs=run.jobs,
            limits=run.limits,
            on_done=bar.update,
        )
    for note in training_set.notes:
        tell(note)
    _prepare_checkpoints(run, training_set)
    training_set.write_held_out(run.work / HELD_OUT_FILE)
    embeddings = _embeddings(run, training_set)
    head, stopping = _head(run, training_set, embeddings)
    model, stoppings = with_head(run.start.model, head.weight, head.bias), {"head": stopping}
    if run.plan.tune == "all":
        # imported late: torch
        from ccmusic.finetuning.all_weights import torch_device, tune_all_weights

        with _bar(run, run.plan.epochs, "pass", "whole") as bar:
            model, stoppings["all"] = tune_all_weights(
                model,
                training_set,
                run.plan,
                run.work / CHECKPOINTS["all"],
                device=torch_device(run.device),
                threads=run.jobs,
                on_epoch=_update(bar),
            )
    return _package(run, training_set, model, stoppings, time.monotonic() - begun), training_set


def _prepare_checkpoints(run: Run, training_set: TrainingSet) -> None:
    """Keep the checkpoints when this run is resumed; delete them otherwise."""
    file, fingerprint = run.work / RUN_FILE, training_set.fingerprint(run.start.card, run.plan)
    if run.resume:
        try:
            known = json.loads(file.read_text(encoding="utf-8"))["fingerprint"]
        except (OSError, ValueError, KeyError):
            raise InvalidParameter("--resume", f"finds no interrupted run in {run.work}: omit it") from None
        if known != fingerprint:
            raise InvalidParameter(
                "--resume",
                f"needs the recordings, the base model, --tune, --holdout and --seed of the run in {run.work}: "
                "omit it to start over",
            )
        return
    for name in CHECKPOINTS.values():
        (run.work / name).unlink(missing_ok=True)
    file.write_text(json.dumps({"fingerprint": fingerprint}) + "\n", encoding="utf-8")


def _embeddings(run: Run, training_set: TrainingSet) -> np.ndarray:
    digests = "".join(spectrogram.digest for spectrogram in training_set.spectrograms)
    content = f"{run.start.card.sha256} {digests} {len(training_set.excerpts)}"
    file = run.work / f"embeddings-{hashlib.sha256(content.encode()).hexdigest()[:16]}.npy"
    if file.is_file():
        return np.asarray(np.load(file))
    with _bar(run, len(training_set.excerpts), "window", "embeddings") as bar:
        out = run_network(run.start.embed, training_set.excerpts, training_set.spectrograms, bar.update)
    partial = file.with_suffix(".part.npy")
    np.save(partial, out)
    for old in run.work.glob("embeddings-*.npy"):
        if old != partial:
            old.unlink()
    partial.replace(file)
    return out


def _head(run: Run, training_set: TrainingSet, embeddings: np.ndarray) -> tuple[Head, EarlyStopping]:
    held, plan = training_set.is_held, run.plan.of_stage("head")
    rows, excerpts = training_set.rows[~held], training_set.held_out_excerpts
    examples = Examples(embeddings[~held], training_set.reference[rows], training_set.weights()[~held])
    with _bar(run, plan.epochs, "epoch", "head") as bar:
        return fit_head(
            examples,
            lambda head: training_set.judge(excerpts, head.logits(embeddings[held])),
            len(training_set.labels),
            plan,
            run.work / CHECKPOINTS["head"],
            _update(bar),
        )


def _package(
    run: Run, training_set: TrainingSet, model: bytes, stoppings: dict[str, EarlyStopping], seconds: float
) -> Card:
    backend = OnnxBackend(model, len(training_set.labels), run.jobs, input_name=run.start.card.input_name)
    with _bar(run, len(training_set.excerpts), "window", "measuring") as bar:
        logits = run_network(backend.logits, training_set.excerpts, training_set.spectrograms, bar.update)
    window_seconds = run.start.card.window_seconds
    found = calibrate_and_measure(
        training_set.held_out_excerpts,
        logits[training_set.is_held],
        training_set.reference,
        training_set.labels,
        window_seconds,
        training_set.is_odd,
    )
    return write_model(
        run.out,
        model,
        name=run.name,
        labels=training_set.labels,
        start=run.start,
        found=found,
        odd_limits=training_set.odd_limits,
        reference_mix=mean_probabilities(training_set.excerpts, logits, found.temperatures[window_seconds]),
        training=_record(run, training_set),
        metrics={
            "recordings": _counts(training_set, ~training_set.held),
            "recordings_held_out": _counts(training_set, training_set.held),
            "passes": {stage: {"best": stopping.best, "all": stopping.epochs} for stage, stopping in stoppings.items()},
            "seconds": round(seconds, 1),
        },
    )


def _counts(training_set: TrainingSet, chosen: np.ndarray) -> dict[str, int]:
    counts = np.bincount(training_set.reference[chosen], minlength=len(training_set.labels))
    return {label: int(n) for label, n in zip(training_set.labels, counts, strict=True)}


def _record(run: Run, training_set: TrainingSet) -> Training:
    units, held = training_set.data.units, training_set.held
    trained_on = (
        "a linear layer on its embedding"
        if run.plan.tune == "head"
        else "a linear layer on its embedding, then every weight"
    )
    return Training(
        data=f"{int((~held).sum())} recordings of {len(np.unique(units[~held]))} artists",
        label_source="yours",
        method=(
            f"{run.start.card.name} {run.start.card.version} (sha256 {run.start.card.sha256[:12]}), {trained_on}; "
            f"{int(held.sum())} recordings of {len(np.unique(units[held]))} other artists held out; "
            f"seed {run.plan.seed}"
        ),
        caveats=(
            "The held-out recordings also chose the temperatures and when to stop: the figures are slightly too good.",
            *(note[0].upper() + note[1:] + "." for note in training_set.notes),
        ),
    )


@contextmanager
def _bar(run: Run, total: int, unit: str, name: str) -> Iterator[Any]:
    # imported late: needed only where a bar is drawn
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, desc=name, disable=True if run.quiet else None, leave=False) as bar:
        yield bar


def _update(bar: Any) -> Callable[[EarlyStopping], None]:
    def show(stopping: EarlyStopping) -> None:
        bar.update(stopping.epochs - bar.n)
        bar.set_postfix(held_out_loss=f"{stopping.losses[-1]:.3g}", best=stopping.best)

    return show
