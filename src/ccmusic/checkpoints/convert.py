"""A checkpoint becomes a model directory: read, recognised, checked, converted, compared, quantised and written."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccmusic.checkpoints import architectures
from ccmusic.checkpoints.checkpoint import Checkpoint, check, read_state_dict, recognise
from ccmusic.checkpoints.precision import choose, measure
from ccmusic.checkpoints.quantize import quantize
from ccmusic.checkpoints.real_windows import real_windows, recordings
from ccmusic.errors import DependencyUnavailable, ModelRefused
from ccmusic.genres import LABELS
from ccmusic.inference.backend import Execution
from ccmusic.inference.front_end import FrontEnd
from ccmusic.inference.runtimes import open_backend
from ccmusic.models.card import Calibration, Card, CqtFeatures, Drawing, GoldenClip, MelFeatures, Network, Training
from ccmusic.models.golden import golden_clips
from ccmusic.models.store import file_sha256
from ccmusic.version import __version__

RECIPE = 1
"""Another recipe makes other networks of the same checkpoint, and so another entry in the cache."""
WINDOW_SECONDS = 11.4
GOLDEN_SECONDS = 10.0
N_WINDOWS = 192
"""Windows that are drawn in all."""
N_CALIBRATION = 64
"""The first so many of them calibrate the quantisation; agreement is measured on the others."""
N_REFERENCE = 8
"""Windows on which the converted network is compared with the checkpoint run otherwise; that is slow."""
MAX_RELATIVE_ERROR = 1e-3
"""Of the logits, against the largest of them: more is another function, not another order of additions."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import.

    Attributes
    ----------
    directory : Path
    card : Card
    n_keys, n_parameters : int
        Tensors of the checkpoint, and numbers in them that the network uses.
    reference : str
        What else ran the checkpoint: ``torch`` or ``numpy``.
    max_logit_error : float
        Between the converted network and that, over `N_REFERENCE` real windows.
    """

    directory: Path
    card: Card
    n_keys: int
    n_parameters: int
    reference: str
    max_logit_error: float


def import_checkpoint(
    path: Path,
    directory: Path,
    *,
    features: str | None = None,
    audio: Path | None = None,
    threads: int = 1,
    on_stage: Callable[[str], object] = lambda _: None,
) -> Imported:
    """Make a model directory of a checkpoint of the official kind.

    Parameters
    ----------
    path : Path
        A PyTorch state_dict, such as ``vgg19_bn_cqt/save.pt``, or its folder.
    directory : Path
        The directory to make; it appears whole or not at all.
    features : {"cqt", "mel"}, optional
        What the checkpoint was trained on, where its folder's name does not say so.
    audio : Path, optional
        Recordings on which the precisions are measured; our examples by default.
    threads : int
        Of each network while it is measured.
    on_stage : callable
        Told in words what is being done.

    Returns
    -------
    Imported

    Raises
    ------
    ModelFileNotFound, ModelRefused
        There is no checkpoint, or it is not what it should be; the text names the tensor.
    InvalidParameter
        The features cannot be told, or there is no recording to measure on.
    DependencyUnavailable
        A library of the extra ``import`` is missing.
    """
    on_stage("reading the checkpoint")
    state = read_state_dict(path)
    checkpoint = recognise(path, state, features=features)
    expected = architectures.manifest(checkpoint.backbone, checkpoint.n_labels, checkpoint.width)
    try:
        check(state, expected)
    except ModelRefused as refusal:
        raise ModelRefused(f"{checkpoint.path}: {refusal}") from None
    if checkpoint.n_labels != len(LABELS):
        raise ModelRefused(
            f"{checkpoint.path} tells {checkpoint.n_labels} classes apart, not the {len(LABELS)} of ccMusic"
        )
    digest = file_sha256(checkpoint.path)
    on_stage(f"building {checkpoint.backbone}")
    model = architectures.build_onnx(checkpoint.backbone, state, checkpoint.n_labels)
    draft = _draft(checkpoint, digest, model)

    on_stage("drawing windows of real recordings")
    windows = real_windows(draft, recordings(audio), N_WINDOWS)
    on_stage("comparing with the checkpoint itself")
    reference, error = _compare(checkpoint, state, model, draft, windows[:N_REFERENCE], threads)
    n_keys, n_parameters = len(state), architectures.n_parameters(expected)
    del state

    calibrating, compared = _shared_out(windows)
    directory.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=directory.parent))
    try:
        networks = [_written(building, draft, "float32", "onnxruntime", model, threads)]
        for precision, runtime in (("int8", "onnxruntime"), ("bfloat16", "openvino")):
            on_stage(f"measuring {precision}")
            candidate = model if precision == "bfloat16" else quantize(model, calibrating)
            network = _measured(building, draft, precision, runtime, candidate, model, compared, threads)
            if network is not None:
                networks.append(network)
        chosen = choose(networks)
        card = _finished(draft, networks, chosen, reference, error)
        card.save(building)
        building.chmod(0o755)  # mkdtemp's own is for its maker alone
        _put(building, directory)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return Imported(directory, card, n_keys, n_parameters, reference, error)


def _draft(checkpoint: Checkpoint, digest: str, model: bytes) -> Card:
    """The card before anything was measured; only its features and drawing are used until then."""
    nothing = GoldenClip(signal="chords", seconds=GOLDEN_SECONDS, logits=(0.0,) * len(LABELS))
    return Card(
        name=checkpoint.name.replace("_", "-"),
        version=digest[:12],
        description=f"ccMusic's {checkpoint.backbone} over drawn {checkpoint.spectrogram} spectrograms, as imported.",
        file=_file_name("float32"),
        sha256=hashlib.sha256(model).hexdigest(),
        labels=LABELS,
        features=CqtFeatures() if checkpoint.spectrogram == "cqt" else MelFeatures(),
        drawing=Drawing(),
        placing="upstream",
        window_seconds=WINDOW_SECONDS,
        too_short_below_seconds=WINDOW_SECONDS,
        uncertain_below=0.5,
        calibration=(Calibration(seconds=WINDOW_SECONDS, temperature=1.0),),
        golden=(nothing,),
        licence="MIT, as its publishers state (ccmusic-database/music_genre)",
        training=Training(
            data="the ccMusic music genre database, by its publishers",
            label_source="the ccMusic music genre database, by its publishers",
            method=f"{checkpoint.backbone} of torchvision, fine-tuned by its publishers; converted by CCMusic "
            f"{__version__} from a checkpoint with SHA-256 {digest}",
            caveats=(
                "Probabilities are the network's own softmax, as upstream's; they were not calibrated here.",
                "Recordings shorter than a window are drawn stretched, which upstream never did.",
            ),
        ),
        metrics={},
    )


def _compare(
    checkpoint: Checkpoint, state: dict[str, np.ndarray], model: bytes, draft: Card, windows: np.ndarray, threads: int
) -> tuple[str, float]:
    """Ask the converted network and the checkpoint itself the same; raises `ModelRefused` when they differ."""
    given = open_backend(model, draft, Execution(threads)).logits(windows)
    expected, reference = architectures.reference_logits(checkpoint.backbone, state, windows)
    error = float(np.abs(given - expected).max())
    if not error <= MAX_RELATIVE_ERROR * max(1.0, float(np.abs(expected).max())):
        raise ModelRefused(
            f"the converted network's logits are off by {error:.3g} from {reference}'s; please report it"
        )
    return reference, error


def _shared_out(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows to calibrate on, and others to compare on; of very few, all for both."""
    n = min(N_CALIBRATION, len(windows) // 3)
    return (windows[:n], windows[n:]) if n else (windows, windows)


def _file_name(precision: str) -> str:
    return f"model.{precision}.onnx"


def _written(
    building: Path, draft: Card, precision: str, runtime: str, model: bytes, threads: int, **measured: object
) -> Network:
    """Put a network into the directory, and note what it says of the golden clips."""
    # what a runtime computes in another precision from the same weights needs no file of its own
    name = _file_name("float32" if precision == "bfloat16" else precision)
    (building / name).write_bytes(model)
    network = draft.model_copy(update={"precision": precision, "runtime": runtime})
    backend = open_backend(model, network, Execution(threads))
    front_end = FrontEnd(draft)
    golden = golden_clips(
        lambda waveform: [backend.logits(front_end.network_input([front_end.spectrogram_db(waveform)]))],
        (GOLDEN_SECONDS,),
    )
    return Network(
        precision=precision,  # type: ignore[arg-type]
        runtime=runtime,  # type: ignore[arg-type]
        file=name,
        sha256=hashlib.sha256(model).hexdigest(),
        golden=golden,
        **measured,  # type: ignore[arg-type]
    )


def _measured(
    building: Path,
    draft: Card,
    precision: str,
    runtime: str,
    candidate: bytes,
    model: bytes,
    windows: np.ndarray,
    threads: int,
) -> Network | None:
    """A network in another precision with its agreement; None when this machine cannot run it."""
    changes = {"precision": precision, "runtime": runtime}
    try:
        backend = open_backend(candidate, draft.model_copy(update=changes), Execution(threads))
    except (DependencyUnavailable, ModelRefused):
        return None  # an extra that is not installed, or a processor without it
    agreement = measure(open_backend(model, draft, Execution(threads)), backend, windows, threads)
    return _written(building, draft, precision, runtime, candidate, threads, agreement=agreement)


def _finished(draft: Card, networks: list[Network], chosen: Network, reference: str, error: float) -> Card:
    """The card with its networks, the chosen one first."""
    rest = tuple(network for network in networks if network is not chosen)
    metrics = {"reference": reference, "max_logit_error": round(error, 8), "reference_windows": N_REFERENCE}
    fields = {name: getattr(chosen, name) for name in Network.model_fields}
    return Card(**{**dict(draft), **fields, "alternatives": rest, "metrics": metrics})


def _put(building: Path, directory: Path) -> None:
    """Give the finished directory its name; what stood there goes."""
    if directory.exists():
        old = directory.with_name(f".old-{building.name}")
        directory.rename(old)
        building.rename(directory)
        shutil.rmtree(old)
    else:
        building.rename(directory)
