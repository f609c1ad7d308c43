"""Which file of a repository is the checkpoint, and which paths, sizes and hashes are accepted."""

import pytest

from ccmusic.checkpoints.hub import RemoteFile, find_checkpoint
from ccmusic.checkpoints.hub.listing import checkpoints, expected_file
from ccmusic.errors import ModelRefused

HASH = "a" * 64


def _find(name, *paths):
    found = find_checkpoint([RemoteFile(path) for path in paths], name)
    return found and found.path


def test_the_folder_with_the_exact_name_comes_before_older_releases():
    paths = ("vgg19_bn_cqt_16cls_2025-01-01/save.pt", "vgg19_bn_cqt/save.pt", "vgg19_bn_mel/save.pt")
    assert _find("vgg19_bn_cqt", *paths) == "vgg19_bn_cqt/save.pt"


@pytest.mark.parametrize(
    ("older", "newer"),
    [("2023-11-30", "2024-02-01"), ("20231130", "2024-02-01"), ("2024-02-01_09-00-00", "2024-02-01_10-00-00")],
)
def test_otherwise_the_newest_release_is_used_in_any_date_format(older, newer):
    paths = [f"swin_b_mel_16cls_{date}/save.pt" for date in (older, newer)]
    assert _find("swin_b_mel", *paths) == _find("swin_b_mel", *reversed(paths)) == paths[1]


@pytest.mark.parametrize(
    "path",
    ["vgg19_bn_cqt/other.pt", "vgg19_bn_cqt_16cls/save.pt", "old/vgg19_bn_cqt/save.pt", "vgg19_bn_cqt_9cls_1/save.pt"],
)
def test_a_similar_path_is_not_the_checkpoint(path):
    assert _find("vgg19_bn_cqt", path) is None


def test_only_folders_at_the_top_count_as_checkpoints():
    paths = ("b_cqt/save.pt", "a_mel/save.pt", "save.pt", "old/b_cqt/save.pt", "README.md")
    assert checkpoints(RemoteFile(path) for path in paths) == ["a_mel", "b_cqt"]


@pytest.mark.parametrize(
    ("path", "size", "sha256", "message"),
    [
        ("../../etc/save.pt", 1, HASH, "not a checkpoint's path"),
        ("/save.pt", 1, HASH, "not a checkpoint's path"),
        ("../save.pt", 1, HASH, "not a checkpoint's path"),
        ("a\\..\\b/save.pt", 1, HASH, "not a checkpoint's path"),
        ("a/save.pt", None, HASH, "no size"),
        ("a/save.pt", -1, HASH, "no size"),
        ("a/save.pt", 1, None, "no SHA-256"),
        ("a/save.pt", 1, "../" * 22, "no SHA-256"),
    ],
)
def test_an_entry_with_an_unsafe_path_or_without_size_or_hash_is_refused(path, size, sha256, message):
    with pytest.raises(ModelRefused, match=message):
        expected_file(path, size, sha256)


def test_an_accepted_entry_names_its_folder():
    assert expected_file("vgg19_bn_cqt/save.pt", 7, HASH).folder == "vgg19_bn_cqt"
