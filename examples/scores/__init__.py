"""The scores of the example clips: notes as text, read by ``examples/render.py``."""

from scores.classical import CLASSICAL
from scores.popular import POPULAR

PIECES = (*CLASSICAL, *POPULAR)

__all__ = ["PIECES"]
