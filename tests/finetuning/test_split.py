from __future__ import annotations

import numpy as np
import pytest

from ccmusic.errors import InvalidParameter
from ccmusic.finetuning.split import held_out


def test_no_artist_is_on_both_sides_and_every_label_is_held_out() -> None:
    generator = np.random.default_rng(4)
    units = generator.integers(0, 40, 400)
    units = np.unique(units, return_inverse=True)[1]
    reference = (units + (generator.random(400) < 0.1)) % 5  # artists mostly, not always, keep to one label
    held, missing = held_out(reference, units, 0.2, 16)
    assert not set(units[held]) & set(units[~held])
    assert missing == ()
    shares = [held[reference == label].mean() for label in range(5)]
    assert min(shares) >= 0.2
    assert max(shares) < 0.45


def test_another_seed_holds_out_others() -> None:
    reference, units = np.repeat([0, 1], 20), np.arange(40)
    first, _ = held_out(reference, units, 0.2, 1)
    again, _ = held_out(reference, units, 0.2, 1)
    other, _ = held_out(reference, units, 0.2, 2)
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert first.sum() == other.sum() == 8


def test_a_label_of_a_single_artist_is_trained_on_and_reported() -> None:
    reference, units = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 3, 3, 3])
    held, missing = held_out(reference, units, 0.3, 16)
    assert missing == (1,)
    assert held.tolist()[3:] == [False] * 3
    assert held.sum() == 1


def test_no_artist_can_be_held_out() -> None:
    with pytest.raises(InvalidParameter, match="--holdout cannot be met"):
        held_out(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), 0.2, 16)
