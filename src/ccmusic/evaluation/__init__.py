"""How well a model does on somebody's own labelled recordings: ``ccmusic evaluate``."""
