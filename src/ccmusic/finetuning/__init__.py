"""A model for somebody's own labels, started from a model that is there: ``ccmusic train``."""
