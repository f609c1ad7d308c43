"""A model for somebody's own labels, started from an existing model: ``ccmusic train``."""
