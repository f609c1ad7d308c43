"""The record of the model in use."""

from __future__ import annotations

from dataclasses import dataclass

from ccmusic.genres import CCMUSIC, Taxonomy
from ccmusic.inference.result import ModelIdentity
from ccmusic.models.training_profile import Reference


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
    """

    identity: ModelIdentity
    backend: str
    taxonomies: tuple[Taxonomy, ...] = (CCMUSIC,)
    reference_mix: tuple[float, ...] | None = None
    training_profile: Reference | None = None
    caveat: str | None = None
