"""A secret in a file, such as a token or a password."""

from __future__ import annotations

import codecs
from pathlib import Path

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_secret(path: Path) -> str | None:
    """Return the text of a file without white space around it; None if there is none.

    Editors and shells of Windows write a byte order mark, lines that end with CR LF, or UTF-16. None of these belongs
    to the secret.

    Raises
    ------
    OSError
        The file cannot be read.
    UnicodeDecodeError
        The file is not text.
    """
    content = path.read_bytes()
    return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig").strip() or None
