"""The head with which ccMusic replaces a backbone's last layer: four linear layers whose widths fall geometrically.

Source: the evaluation network of the public ``ccmusic-database/music_genre``; the keys have its layer numbers.
"""

from __future__ import annotations

from ccmusic.checkpoints.architectures.ops import Ops, T

LINEAR_LAYERS = (1, 4, 7, 9)
"""Positions of the linear layers among dropouts and ReLUs."""


def widths(features: int, n_labels: int) -> tuple[int, int, int]:
    """Outputs of the three hidden layers, the widest first: equal ratios from features to labels, but for rounding.

    Parameters
    ----------
    features : int
        Length of the backbone's output.
    n_labels : int

    Returns
    -------
    tuple of int
        (3958, 629, 100) for VGG19-BN's 25,088 features and 16 labels.
    """
    ratio = (1.0 * features / n_labels) ** 0.25
    last = int(ratio * n_labels)
    middle = int(ratio * last)
    return int(ratio * middle), middle, last


def logits(ops: Ops[T], x: T, prefix: str, offset: int, features: int, n_labels: int) -> T:
    """Logits [batch, n_labels] of a backbone's output [batch, features].

    Parameters
    ----------
    ops : Ops
    x : T [shape=(batch, features)]
    prefix : str
        Prefix of the head's keys, such as ``classifier``.
    offset : int
        Number of layers before the head's own under the same prefix.
    features, n_labels : int

    Returns
    -------
    T [shape=(batch, n_labels)]
    """
    sizes = (features, *widths(features, n_labels), n_labels)
    for i, layer in enumerate(LINEAR_LAYERS):
        if i > 0:
            x = ops.relu(x)
        x = ops.linear(x, f"{prefix}.{offset + layer}", sizes[i], sizes[i + 1])
    return x
