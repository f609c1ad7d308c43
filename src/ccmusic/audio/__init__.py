"""Bytes to waveform: formats, decoders, limits, and where the windows of a recording lie."""
