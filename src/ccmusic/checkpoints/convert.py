"""Makes a model directory from a checkpoint: read, recognise, check, convert, compare, quantise, write."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccmusic.checkpoints import architectures
from ccmusic.checkpoints.precision import choose, measure
from ccmusic.checkpoints.quantize import quantize
from ccmusic.checkpoints.real_windows import real_windows, recordings
from ccmusic.checkpoints.state_dict import Checkpoint, check, read_state_dict, recognise
from ccmusic.errors import DependencyUnavailable, ModelRefused
from ccmusic.genres import LABELS
from ccmusic.inference.backend import Execution
from ccmusic.inference.front_end import FrontEnd
from ccmusic.inference.runtimes import open_backend
from ccmusic.models.card import Card
from ccmusic.models.card_parts import Calibration, Drawing, Features, GoldenClip, Network, Training
from ccmusic.models.golden import golden_clips
from ccmusic.models.store import file_sha256
from ccmusic.version import __version__

RECIPE = 1
"""Part of the cache key: increase it when the same checkpoint gives another model directory."""
WINDOW_SECONDS = 11.4
GOLDEN_SECONDS = 10.0
N_WINDOWS = 192
"""Number of windows of real recordings."""
N_CALIBRATION = 64
"""The first of them, which calibrate the quantisation; agreement is measured on the others."""
N_REFERENCE = 8
"""The first of them, on which the ONNX file is compared with torch or NumPy, which are slow."""
MAX_RELATIVE_ERROR = 1e-3
"""Of a logit, as a share of the largest: more cannot be due to rounding."""


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import.

    Attributes
    ----------
    directory : Path
    card : Card
    n_keys, n_parameters : int
        Number of tensors in the checkpoint, and of parameters in the network.
    reference : str
        What the ONNX file was compared with: ``torch`` or ``numpy``.
    max_logit_error : float
        Largest difference between the two over `N_REFERENCE` real windows.
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
    """Make a model directory from one of ccMusic's checkpoints.

    Parameters
    ----------
    path : Path
        A PyTorch state_dict, such as ``vgg19_bn_cqt/save.pt``, or its folder.
    directory : Path
        The directory to make. It gets its name when it is complete; an existing one is replaced.
    features : {"cqt", "mel"}, optional
        The spectrogram that the checkpoint was trained on, where no name says it.
    audio : Path, optional
        Recordings on which the precisions are measured; default: the examples of this package.
    threads : int
        Threads of each network while it is measured.
    on_stage : callable
        Called with a description of each stage as it begins.

    Returns
    -------
    Imported

    Raises
    ------
    ModelFileNotFound, ModelRefused
        There is no such file, or it is not a complete checkpoint of ccMusic; the text names the tensor.
    InvalidParameter
        The features are unknown, or there is no recording to measure on.
    DependencyUnavailable
        A package of the extra ``import`` is missing.
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
            f"{checkpoint.path} distinguishes {checkpoint.n_labels} classes, not the {len(LABELS)} of ccMusic"
        )
    digest = file_sha256(checkpoint.path)
    on_stage(f"building {checkpoint.backbone}")
    model = architectures.build_onnx(checkpoint.backbone, state, checkpoint.n_labels)
    draft = _draft(checkpoint, digest, model)

    on_stage("drawing windows of real recordings")
    windows = real_windows(draft, recordings(audio), N_WINDOWS)
    on_stage("comparing with the checkpoint itself")
    reference, error = _compare_with_reference(checkpoint, state, model, draft, windows[:N_REFERENCE], threads)
    n_keys, n_parameters = len(state), architectures.n_parameters(expected)
    del state

    calibration_windows, comparison_windows = _split(windows)
    directory.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=directory.parent))
    try:
        networks = [_write_network(building, draft, "float32", "onnxruntime", model, threads)]
        for precision, runtime in (("int8", "onnxruntime"), ("bfloat16", "openvino")):
            on_stage(f"measuring {precision}")
            candidate = model if precision == "bfloat16" else quantize(model, calibration_windows)
            network = _measure_network(
                building, draft, precision, runtime, candidate, model, comparison_windows, threads
            )
            if network is not None:
                networks.append(network)
        metrics = {"reference": reference, "max_logit_error": round(error, 8), "reference_windows": N_REFERENCE}
        card = _final_card(draft, networks, metrics)
        card.save(building)
        building.chmod(0o755)  # mkdtemp permits access only to the user who runs this
        _replace_directory(building, directory)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return Imported(directory, card, n_keys, n_parameters, reference, error)


def _draft(checkpoint: Checkpoint, digest: str, model: bytes) -> Card:
    """The card before the measurements; its golden clip is a placeholder."""
    placeholder = GoldenClip(signal="chords", seconds=GOLDEN_SECONDS, logits=(0.0,) * len(LABELS))
    return Card(
        name=checkpoint.name.replace("_", "-"),
        version=digest[:12],
        description=f"ccMusic's {checkpoint.backbone} over drawn {checkpoint.spectrogram} spectrograms, as imported.",
        file=_file_name("float32"),
        sha256=hashlib.sha256(model).hexdigest(),
        labels=LABELS,
        features=Features(kind=f"{checkpoint.spectrogram}_db"),
        drawing=Drawing(),
        placing="upstream",
        window_seconds=WINDOW_SECONDS,
        too_short_below_seconds=WINDOW_SECONDS,
        uncertain_below=0.5,
        calibration=(Calibration(seconds=WINDOW_SECONDS, temperature=1.0),),
        golden=(placeholder,),
        licence="MIT, as its publishers state (ccmusic-database/music_genre)",
        training=Training(
            data="the ccMusic music genre database, by its publishers",
            label_source="the ccMusic music genre database, by its publishers",
            method=f"{checkpoint.backbone} of torchvision, fine-tuned by its publishers; converted by CCMusic "
            f"{__version__} from a checkpoint with SHA-256 {digest}",
            caveats=(
                "Probabilities are the network's own softmax, as upstream's; they were not calibrated here.",
                "Recordings shorter than a window are stretched to its width, which upstream does not do.",
            ),
        ),
        metrics={},
    )


def _compare_with_reference(
    checkpoint: Checkpoint, state: dict[str, np.ndarray], model: bytes, draft: Card, windows: np.ndarray, threads: int
) -> tuple[str, float]:
    """Which framework ran the checkpoint itself, and the largest difference of the ONNX file's logits from its logits.

    Raises
    ------
    ModelRefused
        The difference is too large.
    """
    converted = open_backend(model, draft, Execution(threads)).logits(windows)
    expected, reference = architectures.reference_logits(checkpoint.backbone, state, windows)
    error = float(np.abs(converted - expected).max())
    if not error <= MAX_RELATIVE_ERROR * max(1.0, float(np.abs(expected).max())):
        raise ModelRefused(f"the converted network's logits differ by {error:.3g} from {reference}'s; please report it")
    return reference, error


def _split(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows to calibrate on, and other windows to compare on; fewer than 3 serve for both."""
    n = min(N_CALIBRATION, len(windows) // 3)
    return (windows[:n], windows[n:]) if n else (windows, windows)


def _file_name(precision: str) -> str:
    return f"model.{precision}.onnx"


def _write_network(
    building: Path, draft: Card, precision: str, runtime: str, model: bytes, threads: int, **measured: object
) -> Network:
    """Write a network into the directory, and record its logits for the golden clips."""
    # OpenVINO computes in bfloat16 from the float32 file
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


def _measure_network(
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
        return None  # OpenVINO is not installed, or the processor does not support the precision
    agreement = measure(open_backend(model, draft, Execution(threads)), backend, windows, threads)
    return _write_network(building, draft, precision, runtime, candidate, threads, agreement=agreement)


def _final_card(draft: Card, networks: list[Network], metrics: dict[str, object]) -> Card:
    """The card with its networks; the one to run by default comes first."""
    chosen = choose(networks)
    rest = tuple(network for network in networks if network is not chosen)
    fields = {name: getattr(chosen, name) for name in Network.model_fields}
    return Card(**{**dict(draft), **fields, "alternatives": rest, "metrics": metrics})


def _replace_directory(building: Path, directory: Path) -> None:
    """Rename the finished directory; an existing one is removed."""
    if directory.exists():
        old = directory.with_name(f".old-{building.name}")
        directory.rename(old)
        building.rename(directory)
        shutil.rmtree(old)
    else:
        building.rename(directory)
