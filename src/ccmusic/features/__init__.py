"""Spectrograms: the constant-Q transform, the mel spectrogram, and the picture of one."""
