"""Fixtures of the health tests."""

import pytest

from ccmusic.health import Health


@pytest.fixture
def make_health():
    made = []

    def make(*checks, **options):
        health = Health("app", "1.0", **options)
        for check in checks:
            health.add(check)
        made.append(health)
        return health

    yield make
    for health in made:
        health.stop()
