"""What `ccmusic tag plan` and the report have in common."""

from __future__ import annotations

import json
import os

import pytest

from ccmusic.batch.plan_format import path_fields, path_of


@pytest.mark.parametrize("name", [b"song", "一首歌".encode(), b"caf\xe9", b"line\nend", b'"quoted"', b"\\xe9"])
def test_every_path_is_the_same_after_json(name: bytes) -> None:
    path = b"/music/" + name
    record = json.loads(json.dumps(path_fields(path)))
    assert os.fsencode(path_of(record)) == path
    assert record["path"].isprintable() or b"\n" in path
