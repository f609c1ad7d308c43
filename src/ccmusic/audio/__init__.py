"""From bytes to waveform: formats, decoders, limits, and the positions of a recording's windows."""
