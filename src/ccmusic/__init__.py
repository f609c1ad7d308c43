"""CCMusic: names a recording's genre, and its health never lies."""

__version__ = "0.1.0"
