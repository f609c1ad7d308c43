"""Our own example recordings: for the page, and for measuring imported models where nobody names others."""

from __future__ import annotations

from pathlib import Path

EXAMPLE_DIRECTORIES = (Path(__file__).parents[3] / "examples", Path(__file__).parents[1] / "examples")
"""Where they may lie: in a checkout, or inside the installed package."""
