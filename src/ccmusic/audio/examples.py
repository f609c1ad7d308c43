"""The example recordings: the page offers them, and imported models are measured on them by default."""

from __future__ import annotations

from pathlib import Path

EXAMPLE_DIRECTORIES = (Path(__file__).parents[3] / "examples", Path(__file__).parents[1] / "examples")
"""Possible directories: in a checkout, and in the installed package."""
