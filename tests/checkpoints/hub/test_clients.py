"""The hubs' own clients against the fake hub: they accept its answers, so it is a valid test of our client."""

import hashlib
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from modelscope_hub import HubApi, HubConfig, NotExistError, PermissionDeniedError

from support.fake_hub import TOKEN

from .conftest import CHECKPOINT, FILES

SHA256 = hashlib.sha256(CHECKPOINT).hexdigest()
PATH = "vgg19_bn_cqt/save.pt"


@pytest.fixture
def modelscope(hub, tmp_path):
    def modelscope(token=""):
        config = HubConfig(
            endpoint=hub.url, cache_dir=tmp_path / "cache", config_dir=tmp_path / "configuration", token=token
        )
        return HubApi(config=config)

    return modelscope


def test_hugging_faces_client_downloads_from_the_fake(hub, tmp_path):
    path = huggingface_hub.hf_hub_download(hub.repository, PATH, endpoint=hub.url, cache_dir=tmp_path, token=False)
    assert Path(path).read_bytes() == CHECKPOINT
    assert [request.method for request in hub.requests] == ["HEAD", "GET"]


def test_hugging_faces_client_lists_the_files_of_the_fake(hub):
    tree = {entry.path: entry for entry in HfApi(hub.url, token=False).list_repo_tree(hub.repository, recursive=True)}
    assert set(tree) == set(FILES)
    assert (tree[PATH].size, tree[PATH].lfs.sha256) == (len(CHECKPOINT), SHA256)


def test_hugging_faces_client_understands_the_refusals_of_the_fake(hub, tmp_path):
    def download(repository=hub.repository, path=PATH, revision=None, token=False):
        huggingface_hub.hf_hub_download(
            repository, path, revision=revision, endpoint=hub.url, cache_dir=tmp_path, token=token
        )

    with pytest.raises(RepositoryNotFoundError):
        download("a/b", token=TOKEN)
    with pytest.raises(RevisionNotFoundError):
        download(revision="v9")
    with pytest.raises(RemoteEntryNotFoundError):
        download(path="alexnet/save.pt")
    hub.gated = True
    with pytest.raises(GatedRepoError):
        download()
    download(token=TOKEN)


def test_modelscopes_client_downloads_from_the_fake(hub, modelscope):
    (listed,) = (file for file in modelscope().list_repo_files(hub.repository, "model") if file.path == PATH)
    assert (listed.size, listed.sha256) == (len(CHECKPOINT), SHA256)
    hub.cut_after = [1_000_000]
    path = modelscope().download_file(
        hub.repository, "model", PATH, expected_sha256=listed.sha256, file_size=listed.size
    )
    assert path.read_bytes() == CHECKPOINT
    assert len(hub.storage_requests) == 2


def test_modelscopes_client_understands_the_refusals_of_the_fake(hub, modelscope):
    for repository, path, revision in (("a/b", PATH, None), (hub.repository, "x", None), (hub.repository, PATH, "v9")):
        with pytest.raises(NotExistError):
            modelscope().download_file(repository, "model", path, revision=revision)
    hub.gated = True
    with pytest.raises(PermissionDeniedError):
        modelscope().download_file(hub.repository, "model", PATH)
    assert modelscope(TOKEN).download_file(hub.repository, "model", PATH).read_bytes() == CHECKPOINT
