"""Trains, evaluates and exports the embedded model; needs torch."""
