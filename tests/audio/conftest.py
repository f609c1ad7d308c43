"""One recording in every format."""

from __future__ import annotations

import pytest

from support.encoding import (
    ENCODED,
)


@pytest.fixture(scope="module", params=ENCODED)
def encoded(request) -> tuple[str, bytes]:
    container, encode = ENCODED[request.param]
    return container, encode()
