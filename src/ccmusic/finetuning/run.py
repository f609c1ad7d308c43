"""One run from recordings to a model directory, in stages that each leave on disk what the next needs."""

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
from ccmusic.finetuning.base_model import Start
from ccmusic.finetuning.early_stopping import EarlyStopping
from ccmusic.finetuning.excerpts import ask
from ccmusic.finetuning.graph import with_head
from ccmusic.finetuning.head import Examples, Head, fit_head
from ccmusic.finetuning.packaging import mix, trust, write_model
from ccmusic.finetuning.plan import Plan, Tune
from ccmusic.finetuning.training_set import TrainingSet, gather
from ccmusic.inference.backend import Device
from ccmusic.inference.onnx_runtime import OnnxBackend
from ccmusic.models.card import Card, Training

RUN_FILE = "run.json"
HELD_OUT_FILE = "held-out.csv"
CHECKPOINTS: dict[Tune, str] = {"head": "head.npz", "all": "all.pt"}


@dataclass(frozen=True)
class Run:
    """What is asked for.

    Attributes
    ----------
    source : str
        The data, as they were asked for.
    data : LabelledData
    start : Start
    plan : Plan
    work, out : Path
        Where what is kept between runs lies, and the model directory to make.
    name : str
        Of the model.
    resume : bool
        Go on from what is in `work`.
    jobs : int
    limits : DecodeLimits
    device : {"auto", "cpu", "cuda"}
        Where every weight is tuned.
    quiet : bool
        No progress bars.
    """

    source: str
    data: LabelledData
    start: Start
    plan: Plan
    work: Path
    out: Path
    name: str
    resume: bool
    jobs: int
    limits: DecodeLimits
    device: Device
    quiet: bool


def carry_out(run: Run, tell: Callable[[str], object]) -> tuple[Card, TrainingSet]:
    """Make the model.

    Parameters
    ----------
    run : Run
    tell : callable
        Told what a person should know as it goes.

    Returns
    -------
    card : Card
    material : TrainingSet

    Raises
    ------
    InvalidParameter, ModelError
    """
    begun = time.monotonic()
    run.work.mkdir(parents=True, exist_ok=True)
    with _bar(run, len(run.data), "recording", "spectrograms") as bar:
        material = gather(
            run.data,
            run.start.card,
            run.plan,
            run.work / "spectrograms",
            jobs=run.jobs,
            limits=run.limits,
            on_done=bar.update,
        )
    for note in material.notes:
        tell(note)
    _begin(run, material)
    material.write_held_out(run.work / HELD_OUT_FILE)
    embeddings = _embeddings(run, material)
    head, course = _head(run, material, embeddings)
    model, courses = with_head(run.start.model, head.weight, head.bias), {"head": course}
    if run.plan.tune == "all":
        # Here and not above: torch.
        from ccmusic.finetuning.all_weights import torch_device, tune_whole

        with _bar(run, run.plan.epochs, "pass", "whole") as bar:
            model, courses["all"] = tune_whole(
                model,
                material,
                run.plan,
                run.work / CHECKPOINTS["all"],
                device=torch_device(run.device),
                threads=run.jobs,
                on_pass=_shown(bar),
            )
    return _ship(run, material, model, courses, time.monotonic() - begun), material


def _begin(run: Run, material: TrainingSet) -> None:
    """Have the checkpoints of this very run, or none."""
    file, fingerprint = run.work / RUN_FILE, material.fingerprint(run.start.card, run.plan)
    if run.resume:
        try:
            known = json.loads(file.read_text(encoding="utf-8"))["fingerprint"]
        except (OSError, ValueError, KeyError):
            raise InvalidParameter("--resume", f"finds nothing to go on from in {run.work}: leave it away") from None
        if known != fingerprint:
            raise InvalidParameter(
                "--resume",
                f"needs the recordings, the start model, --tune, --holdout and --seed of the run in {run.work}: "
                "leave it away to begin anew",
            )
        return
    for name in CHECKPOINTS.values():
        (run.work / name).unlink(missing_ok=True)
    file.write_text(json.dumps({"fingerprint": fingerprint}) + "\n", encoding="utf-8")


def _embeddings(run: Run, material: TrainingSet) -> np.ndarray:
    digests = "".join(spectrogram.digest for spectrogram in material.kept)
    told = f"{run.start.card.sha256} {digests} {len(material.shown)}"
    file = run.work / f"embeddings-{hashlib.sha256(told.encode()).hexdigest()[:16]}.npy"
    if file.is_file():
        return np.asarray(np.load(file))
    with _bar(run, len(material.shown), "window", "embeddings") as bar:
        out = ask(run.start.embed, material.shown, material.kept, bar.update)
    partial = file.with_suffix(".part.npy")
    np.save(partial, out)
    for old in run.work.glob("embeddings-*.npy"):
        if old != partial:
            old.unlink()
    partial.replace(file)
    return out


def _head(run: Run, material: TrainingSet, embeddings: np.ndarray) -> tuple[Head, EarlyStopping]:
    held, plan = material.is_held, run.plan.of_stage("head")
    rows, shown = material.rows[~held], material.held_shown
    examples = Examples(embeddings[~held], material.reference[rows], material.weights()[~held])
    with _bar(run, plan.epochs, "pass", "head") as bar:
        return fit_head(
            examples,
            lambda head: material.judge(shown, head.logits(embeddings[held])),
            len(material.labels),
            plan,
            run.work / CHECKPOINTS["head"],
            _shown(bar),
        )


def _ship(run: Run, material: TrainingSet, model: bytes, courses: dict[str, EarlyStopping], seconds: float) -> Card:
    backend = OnnxBackend(model, len(material.labels), run.jobs, input_name=run.start.card.input_name)
    with _bar(run, len(material.shown), "window", "measuring") as bar:
        logits = ask(backend.logits, material.shown, material.kept, bar.update)
    window_seconds = run.start.card.window_seconds
    found = trust(
        material.held_shown,
        logits[material.is_held],
        material.reference,
        material.labels,
        window_seconds,
        material.is_odd,
    )
    return write_model(
        run.out,
        model,
        name=run.name,
        labels=material.labels,
        start=run.start,
        found=found,
        odd_limits=material.odd_limits,
        reference_mix=mix(material.shown, logits, found.temperatures[window_seconds]),
        training=_record(run, material),
        metrics={
            "recordings": _counts(material, ~material.held),
            "recordings_held_out": _counts(material, material.held),
            "passes": {stage: {"best": course.best, "all": course.passes} for stage, course in courses.items()},
            "seconds": round(seconds, 1),
        },
    )


def _counts(material: TrainingSet, chosen: np.ndarray) -> dict[str, int]:
    counts = np.bincount(material.reference[chosen], minlength=len(material.labels))
    return {label: int(n) for label, n in zip(material.labels, counts, strict=True)}


def _record(run: Run, material: TrainingSet) -> Training:
    units = material.data.units
    learnt = (
        "a linear layer on its embedding"
        if run.plan.tune == "head"
        else "a linear layer on its embedding, then every weight"
    )
    return Training(
        data=f"{int((~material.held).sum())} recordings of {len(np.unique(units[~material.held]))} artists",
        label_source="yours",
        method=(
            f"{run.start.card.name} {run.start.card.version} (sha256 {run.start.card.sha256[:12]}), {learnt}; "
            f"{int(material.held.sum())} recordings of {len(np.unique(units[material.held]))} other artists held out; "
            f"seed {run.plan.seed}"
        ),
        caveats=(
            "The held-out recordings also chose the temperatures and when to stop: the figures flatter a little.",
            *(note[0].upper() + note[1:] + "." for note in material.notes),
        ),
    )


@contextmanager
def _bar(run: Run, total: int, unit: str, name: str) -> Iterator[Any]:
    # Here and not above: as everywhere, only where it is shown.
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, desc=name, disable=True if run.quiet else None, leave=False) as bar:
        yield bar


def _shown(bar: Any) -> Callable[[EarlyStopping], None]:
    def show(course: EarlyStopping) -> None:
        bar.update(course.passes - bar.n)
        bar.set_postfix(held_out_loss=f"{course.losses[-1]:.3g}", best=course.best)

    return show
