"""The model card: a frozen record of what a model is, eats, answers, and may be trusted with.

A model is a directory with ``card.json`` beside the ONNX file that it names. Nothing about a model stands anywhere
else: the pipeline takes its features, window length and calibration from it, the loader its hash and golden clips.
"""

from __future__ import annotations

import bisect
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ccmusic.errors import ModelFileNotFound, ModelRefused
from ccmusic.genres import TAXONOMIES, Taxonomy, taxonomy_of
from ccmusic.models.non_music_limits import NonMusicLimits
from ccmusic.models.training_profile import Reference

CARD_NAME = "card.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CqtFeatures(_Record):
    """The constant-Q transform in decibels, as `ccmusic.features.cqt` computes it."""

    kind: Literal["cqt_db"] = "cqt_db"
    sample_rate: Literal[22050] = 22050
    hop_length: Literal[512] = 512
    n_bins: Literal[84] = 84
    bins_per_octave: Literal[12] = 12
    fmin: float = 32.70319566257483
    top_db: float = 80.0


class MelFeatures(_Record):
    """The mel spectrogram in decibels, as `ccmusic.features.mel` computes it."""

    kind: Literal["mel_db"] = "mel_db"
    sample_rate: Literal[22050] = 22050
    hop_length: Literal[512] = 512
    n_fft: Literal[2048] = 2048
    n_mels: Literal[128] = 128
    top_db: float = 80.0


Features = Annotated[CqtFeatures | MelFeatures, Field(discriminator="kind")]
"""The spectrogram that the network is fed, or is shown a drawing of."""


class Drawing(_Record):
    """How each window is drawn for a network that looks at pictures, as `ccmusic.features.image` draws it.

    Attributes
    ----------
    colormap : str
        Its range is the window's own minimum and maximum.
    canvas : tuple of int
        Width and height of the drawing in pixels, saved as JPEG of `jpeg_quality`.
    size : tuple of int
        Width and height of what the network is shown.
    mean, std : float
        Of each channel, on a scale from 0 to 1: subtracted, and divided by.
    """

    colormap: Literal["magma"] = "magma"
    canvas: tuple[Literal[496], Literal[369]] = (496, 369)
    jpeg_quality: Literal[75] = 75
    size: tuple[Literal[224], Literal[224]] = (224, 224)
    mean: Annotated[float, Field(ge=0.5, le=0.5)] = 0.5
    std: Annotated[float, Field(ge=0.5, le=0.5)] = 0.5


class Calibration(_Record):
    """Softmax temperature that makes the answers to recordings of one length honest.

    Of the recording and not of its windows: a long one's answer is the mean over its windows, which is less sure than
    each of them, and a lone window as long as these needs another temperature.

    Attributes
    ----------
    seconds : float
        How much is heard of the recording. ``window_seconds`` in cards of before.
    temperature : float
    """

    seconds: Annotated[float, Field(gt=0, validation_alias=AliasChoices("seconds", "window_seconds"))]
    temperature: Annotated[float, Field(gt=0)]


class GoldenClip(_Record):
    """A waveform that anyone can compute, and the logits that the model gave for it when it was exported.

    Attributes
    ----------
    signal : str
        Name of a signal in `ccmusic.models.golden`.
    seconds : float
        Its length.
    logits : tuple of float [length=n_labels]
        The network's output for the whole clip as one window, through decode-free waveform -> CQT -> network.
    heads : dict of str to tuple of float
        The same of the card's `heads`, by taxonomy.
    """

    signal: str
    seconds: Annotated[float, Field(gt=0)]
    logits: tuple[float, ...]
    heads: dict[str, tuple[float, ...]] = {}


Share = Annotated[float, Field(ge=0, le=1)]
Label = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,100}$")]
Labels = Annotated[tuple[Label, ...], Field(min_length=2, max_length=1000)]
Temperatures = Annotated[tuple[Calibration, ...], Field(min_length=1)]


class Head(_Record):
    """A further output of the same network, which names the genres of another taxonomy.

    Attributes
    ----------
    taxonomy : {"world"}
    output : str
        The network's name for it [shape=(batch, n_labels)].
    labels : tuple of str
        In the order of the output.
    calibration, uncertain_below, reference_mix
        As the card's own, for this output.
    notes : tuple of str
        What a reader should know: which labels rest on labelled recordings, which on other networks' opinion alone.
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
        _check_output(self.labels, self.calibration, self.reference_mix)
        return self

    def temperature(self, seconds: float) -> float:
        """`Card.temperature` of this output."""
        return _interpolated(self.calibration, seconds)


Precision = Literal["float32", "bfloat16", "int8"]
"""What the network computes in."""

Runtime = Literal["onnxruntime", "openvino"]
"""What runs it."""


class Agreement(_Record):
    """How a network of another precision compares with the one in float32, on the machine that made it.

    Attributes
    ----------
    windows : int
        How many were compared.
    top1 : float
        Share of them for which both name the same genre.
    mean_probability_shift : float
        Mean absolute difference of the probabilities.
    max_logit_error : float
    milliseconds, milliseconds_float32 : float
        A window's time in either, median, on so many `threads`.
    """

    windows: Annotated[int, Field(ge=1)]
    top1: Annotated[float, Field(ge=0, le=1)]
    mean_probability_shift: Annotated[float, Field(ge=0, le=1)]
    max_logit_error: Annotated[float, Field(ge=0)]
    milliseconds: Annotated[float, Field(gt=0)]
    milliseconds_float32: Annotated[float, Field(gt=0)]
    threads: Annotated[int, Field(ge=1)] = 1


class Network(_Record):
    """One file with a network, what it computes in, and what it must answer.

    Attributes
    ----------
    agreement : Agreement or None
        With the network in float32; None for that one itself.
    """

    precision: Precision = "float32"
    runtime: Runtime = "onnxruntime"
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    golden: Annotated[tuple[GoldenClip, ...], Field(min_length=1)]
    agreement: Agreement | None = None


class Training(_Record):
    """Where the weights come from, in words that a reader of the answer can judge."""

    data: str
    label_source: str
    method: str
    caveats: tuple[str, ...] = ()
    commit: str | None = None


class Card(Network):
    """Everything that is promised about one model; it is itself the record of the network that runs by default.

    Attributes
    ----------
    labels : tuple of str
        Classes in the order of the network's outputs.
    taxonomy : {"ccmusic", "own"}
        What the labels are: the 16 ccMusic genres, or any others.
    heads : tuple of Head
        Further outputs of the network.
    sure : dict of str to float, or None
        By level of the taxonomy ("16", "9", "2"): the probability that the likeliest group of that level must have for
        the answer to be called sure of it. None: not known, and answers do not say.
    features, drawing : CqtFeatures or MelFeatures, Drawing or None
        What the network is fed: that spectrogram, or a drawing of it.
    placing : {"covering", "upstream"}
        How a recording is cut: windows that leave no gap, or upstream's, which are side by side in the middle.
    alternatives : tuple of Network
        The same network in other precisions.
    window_seconds : float
        Length of the windows into which a longer recording is cut; a shorter recording is one window.
    min_seconds : float
        Shorter input is padded with silence to this length.
    too_short_below_seconds : float
        Answers for recordings shorter than this carry the flag ``too_short``.
    uncertain_below : float
        Answers whose largest probability lies below this carry the flag ``uncertain``.
    odd : NonMusicLimits or None
        Beyond these a recording is taken for something else than music, and carries the flag too. None: the defaults.
    reference_mix : tuple of float or None [length=n_labels]
        Mean of the tracks' probabilities over the recordings that the model was made with, in the order of `labels`:
        what another mix of music, or a network that favours one class, is told from. None: not known.
    reference : Reference or None
        The same recordings' confidence, level and bandwidth, and how far the mix may go. None: not known.
    """

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: str
    description: str
    labels: Labels
    taxonomy: Literal["ccmusic", "own"] = "ccmusic"
    heads: tuple[Head, ...] = ()
    features: Features = CqtFeatures()
    drawing: Drawing | None = None
    placing: Literal["covering", "upstream"] = "covering"
    window_seconds: Annotated[float, Field(gt=0, le=60)]
    min_seconds: Annotated[float, Field(gt=0)] = 0.3
    too_short_below_seconds: Annotated[float, Field(ge=0)] = 1.0
    uncertain_below: Share
    odd: NonMusicLimits | None = None
    sure: dict[str, Share] | None = None
    calibration: Temperatures
    alternatives: tuple[Network, ...] = ()
    reference_mix: tuple[Share, ...] | None = None
    reference: Reference | None = None
    licence: str
    training: Training
    metrics: dict[str, Any]

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        _check_output(self.labels, self.calibration, self.reference_mix)
        expected = {head.taxonomy: len(head.labels) for head in self.heads}
        if len(expected) != len(self.heads) or len({head.output for head in self.heads}) != len(self.heads):
            raise ValueError("heads must each have another taxonomy and output")
        for clip in (clip for network in self.networks for clip in network.golden):
            if len(clip.logits) != len(self.labels):
                raise ValueError(
                    f"golden clip {clip.signal!r} has {len(clip.logits)} logits for {len(self.labels)} labels"
                )
            if {name: len(logits) for name, logits in clip.heads.items()} != expected:
                raise ValueError(f"golden clip {clip.signal!r} must have logits for every label of every head")
        precisions = [network.precision for network in self.networks]
        if len(set(precisions)) != len(precisions):
            raise ValueError("alternatives must each have another precision")
        levels = tuple(map(str, taxonomy_of(self.taxonomy, self.labels).sizes))
        if self.sure is not None and not set(self.sure) <= set(levels):
            raise ValueError(f"sure must have the levels {', '.join(levels)} or some of them")
        tolerance = None if self.reference is None else self.reference.mix_tolerance
        if tolerance is not None and len(tolerance) != len(self.labels):
            raise ValueError(f"reference.mix_tolerance must be {len(self.labels)} shares")
        return self

    @property
    def input_name(self) -> str:
        """What each network calls its input: the kind of spectrogram, or ``picture``."""
        return self.features.kind if self.drawing is None else "picture"

    @property
    def taxonomies(self) -> tuple[Taxonomy, ...]:
        """What the network names, by output: its own labels' first, then each head's."""
        heads = (taxonomy_of(head.taxonomy, head.labels) for head in self.heads)
        return (taxonomy_of(self.taxonomy, self.labels), *heads)

    def require_known_labels(self) -> None:
        """Refuse labels that are not those of the taxonomy that they claim to be: the names would be wrong.

        Raises
        ------
        ModelRefused
        """
        if self.taxonomy == "ccmusic" and self.labels != TAXONOMIES["ccmusic"].labels:
            raise ModelRefused(
                "the card's labels are not the 16 ccMusic genres in their order; "
                'other labels need "taxonomy": "own" in the card'
            )
        for head in self.heads:
            if head.labels != (known := TAXONOMIES[head.taxonomy].labels):
                raise ModelRefused(
                    f"the labels of the head {head.taxonomy!r} are not its {len(known)} genres in their order"
                )

    @property
    def networks(self) -> tuple[Network, ...]:
        """Every network of this model, the one that runs by default first."""
        return (self, *self.alternatives)

    def running(self, network: Network) -> Card:
        """This card with one of its own `networks` for the one that runs; the others become its alternatives."""
        plain = [Network(**{name: getattr(other, name) for name in Network.model_fields}) for other in self.networks]
        chosen = next(other for other in plain if other.precision == network.precision)
        rest = tuple(other for other in plain if other is not chosen)
        return self.model_copy(
            update={**{name: getattr(chosen, name) for name in Network.model_fields}, "alternatives": rest}
        )

    def at(self, precision: Precision | None) -> Card:
        """This card running in a precision; None leaves it as it is.

        Raises
        ------
        ModelRefused
            The model has no network in this precision; the text names those that it has.
        """
        if precision is None:
            return self
        for network in self.networks:
            if network.precision == precision:
                return self.running(network)
        has = ", ".join(network.precision for network in self.networks)
        raise ModelRefused(f"model {self.name} has no network in {precision}, only in {has}: set CCMUSIC_PRECISION")

    def temperature(self, seconds: float) -> float:
        """Softmax temperature for recordings of this length, interpolated over the logarithm of the length.

        Parameters
        ----------
        seconds : float
            How much is heard of the recording; beyond the calibrated lengths the nearest one counts.

        Returns
        -------
        float
            What the logits are divided by before the softmax.
        """
        return _interpolated(self.calibration, seconds)

    def save(self, directory: Path) -> Path:
        """Write the card into a model directory and return its path."""
        path = directory / CARD_NAME
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return path


def _check_output(labels: tuple[str, ...], calibration: tuple[Calibration, ...], mix: tuple[float, ...] | None) -> None:
    """Raise ValueError for what no output of a network can be."""
    if len(set(labels)) != len(labels):
        raise ValueError("labels must be distinct")
    if mix is not None and (len(mix) != len(labels) or abs(sum(mix) - 1) > 0.01):
        raise ValueError(f"reference_mix must be {len(labels)} shares that sum to 1")
    lengths = [entry.seconds for entry in calibration]
    if lengths != sorted(set(lengths)):
        raise ValueError("calibration must be sorted by seconds, without repeats")


def _interpolated(calibration: tuple[Calibration, ...], seconds: float) -> float:
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


def read_card(path: Path) -> Card:
    """Read and check a model card.

    Parameters
    ----------
    path : Path
        A ``card.json`` file.

    Returns
    -------
    Card

    Raises
    ------
    ModelFileNotFound
        There is no such file.
    ModelRefused
        The file is not a card, or promises something impossible; the text names the field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ModelFileNotFound(str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelRefused(f"model card {path} cannot be read: {error}") from error
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "card"
        raise ModelRefused(f"model card {path}: {where}: {first['msg']}") from error
