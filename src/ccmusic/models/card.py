"""The model card: a frozen record of a model's input, labels, calibration, thresholds, origin and golden clips.

A model is a directory with ``card.json`` and the ONNX file that the card names. The card is the only source of facts
about the model: the pipeline reads spectrogram, window length and calibration from it, the loader reads hash and golden
clips.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ccmusic.errors import ModelFileNotFound, ModelRefused
from ccmusic.genres import TAXONOMIES, Taxonomy, taxonomy_of
from ccmusic.models.card_parts import (
    Drawing,
    Features,
    Head,
    Labels,
    Network,
    Precision,
    Temperatures,
    Training,
    check_output,
    interpolated,
)
from ccmusic.models.non_music_limits import NonMusicLimits
from ccmusic.models.record import Share
from ccmusic.models.training_profile import Reference

CARD_NAME = "card.json"
MODEL_FILE = "model.onnx"
"""The network beside the card in the directories that are written here; a card may name another file."""

NOT_IN_ANSWERS: dict[str, Any] = {
    "schema_version": True,
    "description": True,
    "licence": True,
    "training": True,
    "metrics": True,
    "reference": True,
    "reference_mix": True,
    "alternatives": True,
    "agreement": True,
    "file": True,
    "golden": True,
    "heads": {"__all__": {"notes", "reference_mix"}},
}
"""Fields of a card that no answer depends on. Each other field, also a future one, makes another model."""


class Card(Network):
    """Everything about one model. It is also the `Network` that runs by default.

    Attributes
    ----------
    labels : tuple of str
        Classes in the order of the network's outputs.
    taxonomy : {"ccmusic", "own"}
        Whether the labels are the 16 ccMusic genres or others.
    heads : tuple of Head
        Further outputs of the network.
    sure : dict of str to float, or None
        By level of the taxonomy ("16", "9", "2"): the smallest probability of the level's likeliest group for which the
        answer is sure of that level. None: not known; answers have no ``sure_level``.
    features, drawing : Features, Drawing or None
        The network's input: that spectrogram, or a drawing of it.
    placing : {"covering", "upstream"}
        Positions of the windows: without gaps over the whole recording, or side by side in its middle, as in
        ccMusic's own app.
    alternatives : tuple of Network
        The same network in other precisions.
    window_seconds : float
        Length of a window. A shorter recording is one window.
    min_seconds : float
        Shorter input is padded with silence to this length.
    too_short_below_seconds : float
        Answers for shorter recordings have the flag ``too_short``.
    uncertain_below : float
        Answers whose largest probability is smaller have the flag ``uncertain``.
    odd : NonMusicLimits or None
        Limits of non-music detection; beyond them answers also have the flag ``uncertain``. None: the defaults.
    reference_mix : tuple of float or None [length=n_labels]
        Mean of the tracks' probabilities over the training set, in the order of `labels`. Drift detection compares the
        recent mix with it. None: not known.
    reference : Reference or None
        Confidence, level and bandwidth of the same recordings, and the tolerance of the mix. None: not known.
    """

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: str
    description: str
    labels: Labels
    taxonomy: Literal["ccmusic", "own"] = "ccmusic"
    heads: tuple[Head, ...] = ()
    features: Features = Features(kind="cqt_db")
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

    @model_validator(mode="before")
    @classmethod
    def _without_retired_names(cls, card: Any) -> Any:
        """Accept cards of earlier releases: the one place that knows names that cards no longer have."""
        if not isinstance(card, dict):
            return card
        card = _with_renamed_seconds(card)
        if isinstance(training := card.get("training"), dict):  # before 3.0: the commit, always empty
            card["training"] = {name: value for name, value in training.items() if name != "commit"}
        if isinstance(heads := card.get("heads"), list):
            card["heads"] = [_with_renamed_seconds(head) if isinstance(head, dict) else head for head in heads]
        return card

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        check_output(self.labels, self.calibration, self.reference_mix)
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
        """Name of each network's input: the kind of spectrogram, or ``picture``."""
        return self.features.kind if self.drawing is None else "picture"

    @property
    def taxonomies(self) -> tuple[Taxonomy, ...]:
        """The taxonomy of each output: the card's own, then each head's."""
        heads = (taxonomy_of(head.taxonomy, head.labels) for head in self.heads)
        return (taxonomy_of(self.taxonomy, self.labels), *heads)

    def require_known_labels(self) -> None:
        """Refuse labels that are not those of the stated taxonomy: answers would have wrong names.

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
        """This card with one of its `networks` as the one that runs; the others become `alternatives`."""
        plain = [Network(**{name: getattr(other, name) for name in Network.model_fields}) for other in self.networks]
        chosen = next(other for other in plain if other.precision == network.precision)
        rest = tuple(other for other in plain if other is not chosen)
        return self.model_copy(
            update={**{name: getattr(chosen, name) for name in Network.model_fields}, "alternatives": rest}
        )

    def at(self, precision: Precision | None) -> Card:
        """This card with the network of a precision as the one that runs; None changes nothing.

        Raises
        ------
        ModelRefused
            The model has no network in this precision; the text lists the available ones.
        """
        if precision is None:
            return self
        for network in self.networks:
            if network.precision == precision:
                return self.running(network)
        has = ", ".join(network.precision for network in self.networks)
        raise ModelRefused(f"model {self.name} has no network in {precision}, only in {has}: set CCMUSIC_PRECISION")

    def answer_hashes(self) -> Mapping[str, str]:
        """SHA-256 of every field that an answer of the running network depends on, by the field's name.

        Two cards with equal hashes are the same model: the same network with the same labels, calibration and
        thresholds, under the same name and version.
        """
        fields = self.model_dump(mode="json", exclude=NOT_IN_ANSWERS)
        return {
            name: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
            for name, value in fields.items()
        }

    def temperature(self, seconds: float) -> float:
        """Softmax temperature for a recording, interpolated over the logarithm of its length.

        Parameters
        ----------
        seconds : float
            Length of the analysed part. Outside the calibrated lengths, the nearest one applies.

        Returns
        -------
        float
            The divisor of the logits before the softmax.
        """
        return interpolated(self.calibration, seconds)

    def save(self, directory: Path) -> Path:
        """Write the card into a model directory; return its path."""
        path = directory / CARD_NAME
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return path


def _with_renamed_seconds(output: dict[str, Any]) -> dict[str, Any]:
    """A copy whose calibration has ``seconds`` where cards before 2.1.0 have ``window_seconds``."""
    output = dict(output)
    if isinstance(calibration := output.get("calibration"), list):
        output["calibration"] = [
            {"seconds" if name == "window_seconds" else name: value for name, value in entry.items()}
            if isinstance(entry, dict)
            else entry
            for entry in calibration
        ]
    return output


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
        The file does not exist.
    ModelRefused
        The file is not a card, or a field has an impossible value; the text names the field.
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
