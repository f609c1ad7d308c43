"""Writes the model directory: the networks trained on all clips in one graph, their heads, and the card."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from ccmusic.inference.aggregate import softmax
from ccmusic.models.card import MODEL_FILE, Card
from ccmusic.training import configuration
from ccmusic.training.data import Dataset
from ccmusic.training.export import export_onnx, serving_network
from ccmusic.training.genre_measures import GenreMeasures
from ccmusic.training.heads import logits_of, recordings_layer, short_layer, world_layers
from ccmusic.training.joined_graph import NetworkGroup, join_networks
from ccmusic.training.linear_layers import Layer
from ccmusic.training.model_card import card_fields, world_head, write_card
from ccmusic.training.predict import WHOLE_SECONDS
from ccmusic.training.profile import describe
from ccmusic.training.runs import load_network
from ccmusic.training.world_labels import WorldLabels
from ccmusic.training.world_measures import WorldMeasures


def write_model(
    work: Path, out: Path, dataset: Dataset, labels: WorldLabels, genres: GenreMeasures, world: WorldMeasures
) -> Card:
    """Write the graph of the final networks with their heads, and the card.

    Parameters
    ----------
    work, out : Path
        The finished runs, and the model directory to write.
    dataset : Dataset
    labels : WorldLabels
    genres : GenreMeasures
    world : WorldMeasures
        Both of the cross-validation with the same configurations.

    Returns
    -------
    Card
    """
    out.mkdir(parents=True, exist_ok=True)
    own = recordings_layer(work, dataset, None), short_layer(work, dataset, None)
    others = world_layers(work, dataset, labels, None)
    recordings, short = ({"logits": a, "world_logits": b} for a, b in zip(own, others, strict=True))
    _write_graph(work, dataset, recordings, short, out / MODEL_FILE)

    mix, reference = describe(out / MODEL_FILE, dataset, genres.temperatures[WHOLE_SECONDS])
    tracks = logits_of(work, None, np.arange(len(dataset)), WHOLE_SECONDS, *others)[:, 0]
    world_mix = np.nanmean(softmax(tracks / world.temperatures[WHOLE_SECONDS]), axis=1).mean(axis=0)
    fields = card_fields(dataset, genres, world)
    return write_card(out, **fields, heads=(world_head(world_mix, world),), reference_mix=mix, reference=reference)


def _write_graph(
    work: Path, dataset: Dataset, recordings: dict[str, Layer], short: dict[str, Layer], path: Path
) -> None:
    """Export the final networks and join them; the layers are by output of the graph."""
    with tempfile.TemporaryDirectory() as directory:
        files = {name: Path(directory) / f"{name}.onnx" for name in configuration.MEMBERS}
        for name, each in configuration.MEMBERS.items():
            trained = load_network(work / name, None, dataset, each)
            export_onnx(serving_network(trained, each.stem_stride, each.front), files[name])
        join_networks(
            NetworkGroup([files[name] for name in configuration.RECORDINGS], recordings),
            NetworkGroup([files[name] for name in configuration.SHORT], short),
            path,
        )
