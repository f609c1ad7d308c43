"""The parts of a model card."""

from __future__ import annotations

import bisect
import math
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from ccmusic.models.record import Record, Share


class Features(Record):
    """The spectrogram that is the network's input, or that is drawn for it.

    A card may also state parameters of the spectrogram (``fmin``, ``n_mels``, ...). `ccmusic.inference.front_end` has
    one table of spectrograms and refuses a card that states another parameter or value than its own.

    Attributes
    ----------
    kind : str
        ``cqt_db`` or ``mel_db``: a row of that table.
    """

    model_config = ConfigDict(extra="allow")

    kind: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]


class Drawing(Record):
    """The network's input is a picture of the spectrogram, as `ccmusic.features.image` draws it.

    Like `Features`, it may state parameters; `ccmusic.inference.front_end` refuses those that it does not follow.
    """

    model_config = ConfigDict(extra="allow")


class Calibration(Record):
    """Softmax temperature that calibrates the answers for recordings of one length.

    It depends on the length of the recording, not of a window: the answer for a long recording is the mean over its
    windows, which is less confident than each of them, so a single window needs another temperature.

    Attributes
    ----------
    seconds : float
        Length of the analysed part of the recording.
    temperature : float
    """

    seconds: Annotated[float, Field(gt=0)]
    temperature: Annotated[float, Field(gt=0)]


class GoldenClip(Record):
    """A waveform that is computed from a formula, and the model's logits for it at export.

    Attributes
    ----------
    signal : str
        Name of a signal in `ccmusic.models.golden`.
    seconds : float
        Length.
    logits : tuple of float [length=n_labels]
        The network's output for the whole clip as one window: waveform -> spectrogram -> network, without decoding.
    heads : dict of str to tuple of float
        The output of each of the card's `heads`, by taxonomy.
    """

    signal: str
    seconds: Annotated[float, Field(gt=0)]
    logits: tuple[float, ...]
    heads: dict[str, tuple[float, ...]] = Field(default_factory=dict)


Label = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,100}$")]
Labels = Annotated[tuple[Label, ...], Field(min_length=2, max_length=1000)]
Temperatures = Annotated[tuple[Calibration, ...], Field(min_length=1)]


class Head(Record):
    """A further output of the same network, with the genres of another taxonomy.

    Attributes
    ----------
    taxonomy : {"world"}
    output : str
        Name of the network's output [shape=(batch, n_labels)].
    labels : tuple of str
        In the order of the output.
    calibration, uncertain_below, reference_mix
        As in `Card`, for this output.
    notes : tuple of str
        For readers: which labels were learnt from labelled recordings, and which from other networks' outputs alone.
    """

    taxonomy: Literal["world"] = "world"
    output: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = "world_logits"
    labels: Labels
    calibration: Temperatures
    uncertain_below: Share
    reference_mix: tuple[Share, ...] | None = None
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Head:
        check_output(self.labels, self.calibration, self.reference_mix)
        return self

    def temperature(self, seconds: float) -> float:
        """`Card.temperature` of this output."""
        return interpolated(self.calibration, seconds)


Precision = Literal["float32", "bfloat16", "int8"]
"""Number format in which the network computes."""

Runtime = Literal["onnxruntime", "openvino"]
"""Library that runs the network."""


class Agreement(Record):
    """Comparison of a network of another precision with the one in float32, on the machine that made it.

    Attributes
    ----------
    windows : int
        Number of compared windows.
    top1 : float
        Share of windows for which both have the same likeliest genre.
    mean_probability_shift : float
        Mean absolute difference of the probabilities.
    max_logit_error : float
    milliseconds, milliseconds_float32 : float
        Median time per window of each, on `threads` threads.
    """

    windows: Annotated[int, Field(ge=1)]
    top1: Annotated[float, Field(ge=0, le=1)]
    mean_probability_shift: Annotated[float, Field(ge=0, le=1)]
    max_logit_error: Annotated[float, Field(ge=0)]
    milliseconds: Annotated[float, Field(gt=0)]
    milliseconds_float32: Annotated[float, Field(gt=0)]
    threads: Annotated[int, Field(ge=1)] = 1


class Network(Record):
    """A file with a network, its precision, and its golden clips.

    Attributes
    ----------
    agreement : Agreement or None
        Comparison with the network in float32; None for that network itself.
    """

    precision: Precision = "float32"
    runtime: Runtime = "onnxruntime"
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    golden: Annotated[tuple[GoldenClip, ...], Field(min_length=1)]
    agreement: Agreement | None = None


class Training(Record):
    """Origin of the weights, for readers of the answers."""

    data: str
    label_source: str
    method: str
    caveats: tuple[str, ...] = ()


def check_output(labels: tuple[str, ...], calibration: tuple[Calibration, ...], mix: tuple[float, ...] | None) -> None:
    """Raise ValueError if labels, calibration and mix cannot belong to one output."""
    if len(set(labels)) != len(labels):
        raise ValueError("labels must be distinct")
    if mix is not None and (len(mix) != len(labels) or abs(sum(mix) - 1) > 0.01):
        raise ValueError(f"reference_mix must be {len(labels)} shares that sum to 1")
    lengths = [entry.seconds for entry in calibration]
    if lengths != sorted(set(lengths)):
        raise ValueError("calibration must be sorted by seconds, without repeats")


def interpolated(calibration: tuple[Calibration, ...], seconds: float) -> float:
    lengths = [entry.seconds for entry in calibration]
    values = [entry.temperature for entry in calibration]
    right = bisect.bisect_left(lengths, seconds)
    if right == 0:
        return values[0]
    if right == len(lengths):
        return values[-1]
    low, high = lengths[right - 1], lengths[right]
    share = math.log(seconds / low) / math.log(high / low)
    return values[right - 1] + share * (values[right] - values[right - 1])
