"""The record of the model in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ccmusic.genres import CCMUSIC, Taxonomy
from ccmusic.inference.result import ModelIdentity
from ccmusic.models.card import Card
from ccmusic.models.training_profile import Reference

WHAT_TO_DO = (
    "restore the files, or change to their model with POST /v2/repository/models/NAME/load, or restart the service"
)
"""For messages about files that hold another model than the one in use."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Every fact about a model that a worker has loaded and verified.

    The worker makes this record and sends it whole in its `Ready` message. The roster keeps it, and each health
    snapshot carries it. A new fact is one more field here, and the code that uses it.

    Attributes
    ----------
    identity : ModelIdentity
        Name, version and SHA-256.
    backend : str
        The runtime that computes the network.
    taxonomies : tuple of Taxonomy
        The taxonomies that the model answers in. The first is that of its own labels.
    reference_mix : tuple of float or None [length=n_labels]
        Mean probabilities that the model's card expects; None if the card has none.
    training_profile : Reference or None
        What the card states about the recordings that the model was trained on; None if it states nothing.
    caveat : str or None
        Why this network of the card runs, and not the one that the card prefers; None if the preferred one runs.
    answer_hashes : mapping of str to str
        SHA-256 of every field of the card that an answer depends on (`Card.answer_hashes`).
    """

    identity: ModelIdentity
    backend: str
    taxonomies: tuple[Taxonomy, ...] = (CCMUSIC,)
    reference_mix: tuple[float, ...] | None = None
    training_profile: Reference | None = None
    caveat: str | None = None
    answer_hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name, version, the first digits of the hash, and the backend, for messages."""
        return f"{self.identity.name} {self.identity.version} {self.identity.sha256[:12]} on {self.backend}"

    def difference(self, other: ServedModel) -> tuple[str, ...]:
        """Names of what answers depend on and what is not the same in another model; empty if it is the same model."""
        fields = differing(self.answer_hashes, other.answer_hashes)
        if self.identity != other.identity and not fields:
            fields = ("identity",)
        return fields if self.backend == other.backend else (*fields, "backend")

    def difference_to_card(self, card: Card) -> tuple[str, ...]:
        """Names of what answers depend on and what a card states otherwise; empty if it is the card of this model."""
        network = next((network for network in card.networks if network.sha256 == self.identity.sha256), None)
        return ("sha256",) if network is None else differing(card.running(network).answer_hashes(), self.answer_hashes)


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[str, ...]:
    """The names that have another value, or none, in the other mapping; sorted."""
    return tuple(sorted(name for name in {**one, **other} if one.get(name) != other.get(name)))
