"""The answer record: how many predictions may be requested."""

import pytest

from ccmusic.errors import InvalidParameter
from ccmusic.genres import CCMUSIC, OWN, taxonomy_of
from ccmusic.inference.result import chosen_top_k

THREE = taxonomy_of(OWN, ("a", "b", "c"))
FORTY = taxonomy_of(OWN, tuple(f"label {i}" for i in range(40)))


@pytest.mark.parametrize(("taxonomy", "expected"), [(CCMUSIC, 5), (THREE, 3), (FORTY, 5)])
def test_the_default_is_five_or_all_labels_of_a_smaller_taxonomy(taxonomy, expected):
    assert chosen_top_k(None, taxonomy) == expected


@pytest.mark.parametrize(("taxonomy", "largest"), [(CCMUSIC, 16), (THREE, 3), (FORTY, 40)])
def test_the_number_of_labels_is_the_largest_request(taxonomy, largest):
    assert chosen_top_k(1, taxonomy) == 1
    assert chosen_top_k(largest, taxonomy) == largest
    for requested in (0, -1, largest + 1):
        with pytest.raises(InvalidParameter, match=f"^--top-k must be 1 to {largest}, not {requested}$"):
            chosen_top_k(requested, taxonomy, "--top-k")
