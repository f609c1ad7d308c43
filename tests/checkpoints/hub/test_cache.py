"""The cache of downloaded checkpoints."""

import hashlib

import pytest

from ccmusic.checkpoints.hub.cache import HubCache
from ccmusic.checkpoints.hub.listing import expected_file
from ccmusic.models.hub_reference import HubReference

CONTENT = b"weights"
EXPECTED = expected_file("vgg19_bn_cqt/save.pt", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def hub_cache(cache):
    return HubCache(cache, HubReference("owner/name"))


def _store(hub_cache):
    with hub_cache.lock(EXPECTED):
        hub_cache.path(EXPECTED).write_bytes(CONTENT)


def test_the_path_contains_the_hash_and_the_checkpoints_name(hub_cache, cache):
    assert hub_cache.path(EXPECTED) == cache / "owner--name" / EXPECTED.sha256[:16] / "vgg19_bn_cqt" / "save.pt"


def test_a_file_is_in_the_cache_only_with_the_expected_bytes(hub_cache):
    assert not hub_cache.has(EXPECTED)
    _store(hub_cache)
    assert hub_cache.has(EXPECTED)
    hub_cache.path(EXPECTED).write_bytes(CONTENT[::-1])
    assert not hub_cache.has(EXPECTED)
    assert not hub_cache.path(EXPECTED).exists()


def test_a_remembered_file_is_recalled_for_the_same_hub_and_revision_only(hub_cache, cache):
    _store(hub_cache)
    hub_cache.remember("modelscope", EXPECTED)
    assert hub_cache.recall("modelscope") == hub_cache.path(EXPECTED)
    assert hub_cache.recall("huggingface") is None
    assert HubCache(cache, HubReference("owner/name", revision="v1")).recall("modelscope") is None


def test_a_remembered_file_that_is_missing_is_not_recalled(hub_cache):
    hub_cache.remember("modelscope", EXPECTED)
    assert hub_cache.recall("modelscope") is None


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"path": "../save.pt", "size": 1, "sha256": ""}'])
def test_a_malformed_record_is_ignored(hub_cache, cache, record):
    _store(hub_cache)
    hub_cache.remember("modelscope", EXPECTED)
    (path,) = cache.rglob("*.json")
    path.write_text(record)
    assert hub_cache.recall("modelscope") is None
