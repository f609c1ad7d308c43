"""Fixtures of the bridge's tests."""

from __future__ import annotations

import pytest

from ccmusic.alerting.settings import BridgeSettings
from support.fake_wecom import FakeWecom


@pytest.fixture
def wecom():
    with FakeWecom() as running:
        yield running


@pytest.fixture
def robot_file(tmp_path, wecom):
    path = tmp_path / "robot"
    path.write_text(wecom.robot_url + "\n")
    return path


@pytest.fixture
def make_bridge_settings(robot_file):
    def make(**changes):
        return BridgeSettings(robot_url_file=robot_file, **changes)

    return make
