"""How good a model is on somebody's own labelled recordings: ``ccmusic evaluate``."""
