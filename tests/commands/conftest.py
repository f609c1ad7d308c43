"""Labelled recordings and models for them."""

from support.labelled_tones import confused, knowing, table, tones

__all__ = ["confused", "knowing", "table", "tones"]
