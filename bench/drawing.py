"""Compares the pictures and the speed of ``ccmusic.features.image`` with matplotlib's.

Usage: ``python bench/drawing.py --audio DIR ... [--model FILE.onnx] [--write docs/drawing-parity.md]``, with librosa
0.11, matplotlib and onnx installed. The model's input is ``picture`` [n, 3, 224, 224]; by default it is a small network
with random weights.
"""

# ruff: noqa: E402 - the thread limits must be set before numpy is imported

from __future__ import annotations

import os

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_threads] = "1"  # read when numpy is imported, so set before

import datetime
import platform
import runpy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

warnings.simplefilter("ignore")  # importing librosa and matplotlib gives warnings about other packages

import librosa
import matplotlib as mpl
import numpy as np
import onnxruntime
import PIL
from parity import command_line, publish, recordings, seconds_taken, speed_cells
from PIL import features

from ccmusic.audio.windows import upstream_windows
from ccmusic.features import image
from ccmusic.features.cqt import cqt_db
from ccmusic.features.mel import mel_db
from ccmusic.features.spectrogram import SAMPLE_RATE

MATPLOTLIB = runpy.run_path(str(Path(__file__).parent.parent / "tests" / "data" / "matplotlib_drawing.py"))
SHORT_SECONDS = (0.3, 1.0, 5.0)  # from the start of each recording: one stretched window each
N_CLASSES = 16


def librosa_cqt_db(waveform: np.ndarray) -> np.ndarray:
    return librosa.power_to_db(np.abs(librosa.cqt(waveform, sr=SAMPLE_RATE)) ** 2, ref=np.max)


def librosa_mel_db(waveform: np.ndarray) -> np.ndarray:
    return librosa.power_to_db(librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE), ref=np.max)


SPECTROGRAMS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "CQT": (librosa_cqt_db, cqt_db),
    "mel": (librosa_mel_db, mel_db),
}


@dataclass
class Comparison:
    """The differences of pictures [channels and pixels in any order] that should be equal, in steps of 255."""

    n: int = 0
    equal: int = 0
    largest: float = 0.0
    mean_sum: float = 0.0
    theirs: list[np.ndarray] = field(default_factory=list)
    ours: list[np.ndarray] = field(default_factory=list)

    def add(self, reference: np.ndarray, estimated: np.ndarray) -> None:
        error = np.abs(estimated.astype(np.float32) - reference.astype(np.float32))
        self.n += 1
        self.equal += not error.any()
        self.largest = max(self.largest, float(error.max()))
        self.mean_sum += float(error.mean())

    def cells(self) -> str:
        return f"{self.equal} of {self.n} | {self.largest:.0f} | {self.mean_sum / self.n:.4f}"


def random_network() -> bytes:
    """Two convolutions, a pooling and a layer with random weights: a change of a pixel changes a logit."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(2026)
    shapes = {"w1": (16, 3, 7, 7), "w2": (32, 16, 5, 5), "w3": (32 * 7 * 7, N_CLASSES)}
    weights = [
        numpy_helper.from_array((random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["picture", "w1"], ["c1"], strides=[4, 4], pads=[3, 3, 3, 3]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], strides=[2, 2], pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("AveragePool", ["r2"], ["p"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w3"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", N_CLASSES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def places(waveform: np.ndarray, n_frames: int) -> list[tuple[int, int]]:
    """Upstream's windows, and one between each two of them."""
    windows = upstream_windows(n_frames, len(waveform) / SAMPLE_RATE)
    between = [((a + b) // 2, (a + b) // 2 + b - a) for a, b in windows]
    return windows + [(a, b) for a, b in between if b <= n_frames]


def compared_waveforms(audio_dirs: list[Path]) -> Iterator[np.ndarray]:
    for _, waveform in recordings(audio_dirs):
        yield waveform
        for seconds in SHORT_SECONDS:
            yield waveform[: int(seconds * SAMPLE_RATE)]


def to_steps(picture: np.ndarray) -> np.ndarray:
    """The network's input before its scaling, 0 to 255."""
    return np.rint((picture + 1) * 127.5)


class Bench:
    """All comparisons for one kind of spectrogram.

    `raster` and `picture` draw the same window in both ways. `pipeline_raster` and `pipeline` start from the waveform,
    so they include the small differences of the spectrograms.
    """

    def __init__(self, kind: str, session: onnxruntime.InferenceSession) -> None:
        self.librosa_db, self.our_db = SPECTROGRAMS[kind]
        self.session = session
        self.raster, self.picture = Comparison(), Comparison()
        self.pipeline_raster, self.pipeline = Comparison(), Comparison()
        self.their_seconds: list[float] = []
        self.our_seconds: list[float] = []

    def logits(self, picture: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"picture": picture[np.newaxis]})[0][0]

    def add(self, waveform: np.ndarray) -> None:
        their_db, our_db = self.librosa_db(waveform), self.our_db(waveform)
        for begin, end in places(waveform, our_db.shape[1]):
            self.add_window(np.ascontiguousarray(their_db[:, begin:end]), np.ascontiguousarray(our_db[:, begin:end]))

    def add_window(self, their_window: np.ndarray, our_window: np.ndarray) -> None:
        drawn = image.draw(our_window)
        self.raster.add(MATPLOTLIB["raster"](our_window), drawn)
        self.pipeline_raster.add(MATPLOTLIB["raster"](their_window), drawn)
        kept: list[np.ndarray] = []
        self.their_seconds.append(seconds_taken(lambda: kept.append(MATPLOTLIB["network_picture"](our_window))))
        self.our_seconds.append(seconds_taken(lambda: kept.append(image.network_picture(our_window))))
        reference, estimated = kept
        whole_reference = MATPLOTLIB["network_picture"](their_window)
        ours = self.logits(estimated)
        for comparison, theirs in ((self.picture, reference), (self.pipeline, whole_reference)):
            comparison.add(to_steps(theirs), to_steps(estimated))
            comparison.theirs.append(self.logits(theirs))
            comparison.ours.append(ours)


def logit_cells(comparison: Comparison) -> str:
    theirs, ours = np.stack(comparison.theirs), np.stack(comparison.ours)
    # Relative to the mean of each class, so that logits common to all windows do not count as agreement.
    correlation = np.corrcoef((theirs - theirs.mean(0)).ravel(), (ours - theirs.mean(0)).ravel())[0, 1]
    same = int((theirs.argmax(1) == ours.argmax(1)).sum())
    return f"{np.abs(theirs - ours).max():.2g} | {correlation:.7f} | {same} of {len(theirs)}"


def stage_rows(window: np.ndarray) -> Iterator[str]:
    """The time of each step of ours."""
    from io import BytesIO

    from PIL import Image

    drawn, file = image.draw(window), BytesIO()
    image.save_jpeg(window, file)
    decoded = Image.open(file).convert("RGB")
    stages: dict[str, Callable[[], object]] = {
        "draw": lambda: image.draw(window),
        "encode JPEG": lambda: Image.fromarray(drawn).save(BytesIO(), "JPEG"),
        "decode JPEG": lambda: Image.open(file).load(),
        "resize": lambda: decoded.resize((224, 224), Image.Resampling.BILINEAR),
        "all, with the scaling": lambda: image.network_picture(window),
    }
    for name, call in stages.items():
        yield f"| {name} | {1000 * float(np.median([seconds_taken(call) for _ in range(101)])):.2f} ms |"


def report(audio_dirs: list[Path], model: Path | None) -> Iterator[str]:
    session = onnxruntime.InferenceSession(model.read_bytes() if model else random_network())
    benches = {kind: Bench(kind, session) for kind in SPECTROGRAMS}
    for waveform in compared_waveforms(audio_dirs):
        for bench in benches.values():
            bench.add(waveform)
    yield "# The drawn picture against matplotlib's"
    yield ""
    yield (
        f"Written by `bench/drawing.py` on {datetime.date.today()}: matplotlib {mpl.__version__}, librosa "
        f"{librosa.__version__}, Pillow {PIL.__version__} with libjpeg-turbo {features.version('libjpeg_turbo')}, "
        f"numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}."
    )
    yield ""
    short = ", ".join(f"{seconds:g}" for seconds in SHORT_SECONDS)
    yield "Windows of real recordings: upstream's of 11.4 s, one between each two of them, and the first"
    yield f"{short} s of each recording as one stretched window each. Errors are in steps of 255, per channel"
    yield "and pixel: the largest in any window, and the mean."
    yield ""
    yield "## The drawing alone: the same window drawn both ways"
    yield ""
    yield "| spectrogram | rasters equal | largest | mean | pictures of 224 x 224 equal | largest | mean |"
    yield "|---|---|---|---|---|---|---|"
    for kind, bench in benches.items():
        yield f"| {kind} | {bench.raster.cells()} | {bench.picture.cells()} |"
    yield ""
    yield "## The whole pipeline: from the waveform, through librosa and matplotlib, and through ours"
    yield ""
    yield "Our spectrograms differ from librosa's by rounding ([CQT](cqt-parity.md), [mel](mel-parity.md)), so a"
    yield "value on the border between two of the 256 colours may get the other colour."
    yield ""
    yield "| spectrogram | rasters equal | largest | mean | pictures of 224 x 224 equal | largest | mean |"
    yield "|---|---|---|---|---|---|---|"
    for kind, bench in benches.items():
        yield f"| {kind} | {bench.pipeline_raster.cells()} | {bench.pipeline.cells()} |"
    yield ""
    yield f"## The logits of a network: {model.name if model else 'random weights'}"
    yield ""
    yield "| spectrogram | pictures | largest difference of logits | correlation | same first label |"
    yield "|---|---|---|---|---|"
    for kind, bench in benches.items():
        yield f"| {kind} | the drawing alone | {logit_cells(bench.picture)} |"
        yield f"| {kind} | the whole pipeline | {logit_cells(bench.pipeline)} |"
    yield ""
    yield "## Speed: from a window in dB to the network's input"
    yield ""
    yield "One core, alternating, medians over all windows. The spread is the middle half of the ratios."
    yield ""
    yield "| spectrogram | librosa, matplotlib, Pillow | ours | ratio | spread |"
    yield "|---|---|---|---|---|"
    for kind, bench in benches.items():
        yield f"| {kind} | {speed_cells(bench.their_seconds, bench.our_seconds)} |"
    yield ""
    yield "| step of one CQT window | median of 101 |"
    yield "|---|---|"
    yield from stage_rows(cqt_db(waveform)[:, :490])


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--model", type=Path, help="an ONNX file whose input is `picture` [n, 3, 224, 224]")
    arguments = parser.parse_args()
    if not arguments.audio:
        parser.error("name a folder of recordings: --audio DIR")
    publish(report(arguments.audio, arguments.model), arguments.write)


if __name__ == "__main__":
    main()
