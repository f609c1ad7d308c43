"""Spectrograms: constant-Q and mel in decibels, and images of them."""
