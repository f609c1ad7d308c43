"""The head that ccMusic puts in the place of a backbone's last layer: four linear layers of geometric widths.

Source: the evaluation network of the public ``ccmusic-database/music_genre``, whose layer numbers the keys carry.
"""

from __future__ import annotations

from ccmusic.checkpoints.architectures.ops import Ops, T

LINEAR_LAYERS = (1, 4, 7, 9)
"""Where the linear layers lie among dropouts and ReLUs."""


def widths(features: int, n_labels: int) -> tuple[int, int, int]:
    """Outputs of the three hidden layers, from the widest: equal ratios between features and labels, but for rounding.

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
        Where the head hangs in the network, ``classifier`` or the like.
    offset : int
        Layers that stand before the head's own under the same prefix.
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
