"""The pipeline from a recording to its genres, and the backends that run a network."""
