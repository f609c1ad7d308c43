import pytest
from pydantic import ValidationError

from ccmusic.models.training_profile import Spread


def test_a_rank_is_interpolated_between_the_quantiles():
    spread = Spread(mean=1, variance=1, quantiles=(0.0, 1.0, 4.0))
    assert [spread.rank(value) for value in (-3, 0, 0.5, 1, 2.5, 4, 9)] == [0, 0, 0.25, 0.5, 0.75, 1, 1]


@pytest.mark.parametrize("quantiles", [(0.0, 2.0, 1.0), (1.0, 1.0, 1.0), (0.0, 1.0)])
def test_quantiles_must_ascend(quantiles):
    with pytest.raises(ValidationError, match="quantiles"):
        Spread(mean=1, variance=1, quantiles=quantiles)
