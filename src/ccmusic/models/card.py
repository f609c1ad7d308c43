"""The model card: a frozen record of what a model is, eats, answers, and may be trusted with.

A model is a directory with ``card.json`` beside the ONNX file that it names. Nothing about a model stands anywhere
else: the pipeline takes its features, window length and calibration from it, the loader its hash and golden clips.
"""

from __future__ import annotations

import bisect
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ccmusic.errors import ModelFileNotFound, ModelRefused

CARD_NAME = "card.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FeatureConfiguration(_Record):
    """What the network is fed: the constant-Q transform in decibels, as `ccmusic.features.cqt` computes it."""

    kind: Literal["cqt_db"] = "cqt_db"
    sample_rate: Literal[22050] = 22050
    hop_length: Literal[512] = 512
    n_bins: Literal[84] = 84
    bins_per_octave: Literal[12] = 12
    fmin: float = 32.70319566257483
    top_db: float = 80.0


class Calibration(_Record):
    """Softmax temperature that makes the probabilities of windows of one length honest."""

    window_seconds: Annotated[float, Field(gt=0)]
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
    """

    signal: str
    seconds: Annotated[float, Field(gt=0)]
    logits: tuple[float, ...]


class Training(_Record):
    """Where the weights come from, in words that a reader of the answer can judge."""

    data: str
    label_source: str
    method: str
    caveats: tuple[str, ...] = ()
    commit: str | None = None


class Card(_Record):
    """Everything that is promised about one model.

    Attributes
    ----------
    labels : tuple of str
        Classes in the order of the network's outputs.
    window_seconds : float
        Length of the windows into which a longer recording is cut; a shorter recording is one window.
    min_seconds : float
        Shorter input is padded with silence to this length.
    too_short_below_seconds : float
        Answers for recordings shorter than this carry the flag ``too_short``.
    uncertain_below : float
        Answers whose largest probability lies below this carry the flag ``uncertain``.
    reference_mix : tuple of float or None [length=n_labels]
        Mean of the tracks' probabilities over the recordings that the model was made with, in the order of `labels`:
        what another mix of music, or a network that favours one class, is told from. None: not known.
    """

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: str
    description: str
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    features: FeatureConfiguration = FeatureConfiguration()
    window_seconds: Annotated[float, Field(gt=0, le=60)]
    min_seconds: Annotated[float, Field(gt=0)] = 0.3
    too_short_below_seconds: Annotated[float, Field(ge=0)] = 1.0
    uncertain_below: Annotated[float, Field(ge=0, le=1)]
    calibration: Annotated[tuple[Calibration, ...], Field(min_length=1)]
    golden: Annotated[tuple[GoldenClip, ...], Field(min_length=1)]
    reference_mix: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = None
    licence: str
    training: Training
    metrics: dict[str, Any]

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must be distinct")
        for clip in self.golden:
            if len(clip.logits) != len(self.labels):
                raise ValueError(
                    f"golden clip {clip.signal!r} has {len(clip.logits)} logits for {len(self.labels)} labels"
                )
        mix = self.reference_mix
        if mix is not None and (len(mix) != len(self.labels) or abs(sum(mix) - 1) > 0.01):
            raise ValueError(f"reference_mix must be {len(self.labels)} shares that sum to 1")
        lengths = [entry.window_seconds for entry in self.calibration]
        if lengths != sorted(set(lengths)):
            raise ValueError("calibration must be sorted by window_seconds, without repeats")
        return self

    def temperature(self, window_seconds: float) -> float:
        """Softmax temperature for windows of this length, interpolated over the logarithm of the length.

        Parameters
        ----------
        window_seconds : float
            Length of the window; beyond the calibrated lengths the nearest one counts.

        Returns
        -------
        float
            What the logits are divided by before the softmax.
        """
        lengths = [entry.window_seconds for entry in self.calibration]
        values = [entry.temperature for entry in self.calibration]
        right = bisect.bisect_left(lengths, window_seconds)
        if right == 0:
            return values[0]
        if right == len(lengths):
            return values[-1]
        low, high = lengths[right - 1], lengths[right]
        share = math.log(window_seconds / low) / math.log(high / low)
        return values[right - 1] + share * (values[right] - values[right - 1])

    def save(self, directory: Path) -> Path:
        """Write the card into a model directory and return its path."""
        path = directory / CARD_NAME
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return path


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
