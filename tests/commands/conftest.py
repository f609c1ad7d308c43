"""Labelled recordings and models for them; a disk that is soon full."""

from support.labelled_tones import confused, knowing, table, tones
from support.small_disk import small_disk

__all__ = ["confused", "knowing", "small_disk", "table", "tones"]
