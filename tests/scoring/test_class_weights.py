from __future__ import annotations

import numpy as np
import pytest

from ccmusic.scoring.class_weights import class_weights


def test_class_weights_balance_between_clips_and_classes() -> None:
    labels = np.array([3] * 16 + [5] * 4)
    alike, half, full = (class_weights(labels, balance, 16) for balance in (0.0, 0.5, 1.0))
    assert alike[[3, 5]].tolist() == [1.0, 1.0]
    assert half[5] / half[3] == pytest.approx(2.0)
    assert full[5] / full[3] == pytest.approx(4.0)
    assert full[labels].mean() == pytest.approx(1.0)
    assert full[0] == 0.0
