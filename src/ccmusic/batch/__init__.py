"""A whole library: the walk over it, the catalogue of its tracks, and the run that fills the catalogue."""
