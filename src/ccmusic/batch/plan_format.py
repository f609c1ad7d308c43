"""What a plan of tags looks like (docs/tags.md): `ccmusic tag plan` and the report both write one."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccmusic.batch.track_row import valid_text

PLAN_VERSION = 1
"""In the first line of a plan, as ``plan``."""

WRITE, KEEP = "write", "keep"
"""The actions: a genre is written, or the file stays as it is."""


def path_fields(path: bytes) -> dict[str, str]:
    """A path in JSON: as text, and if it is not UTF-8 also as bytes in Base64."""
    try:
        return {"path": path.decode()}
    except UnicodeDecodeError:
        return {"path": valid_text(path), "path_base64": base64.b64encode(path).decode()}


def path_of(record: Mapping[str, Any]) -> Path:
    """The path that `path_fields` put into a record."""
    raw = base64.b64decode(record["path_base64"]) if "path_base64" in record else record["path"].encode()
    return Path(os.fsdecode(raw))
