import pytest

from ccmusic.checkpoints.hub import RemoteFile, find_checkpoint
from ccmusic.checkpoints.hub.listing import promise
from ccmusic.errors import ModelRefused

HASH = "a" * 64


def _find(name, *paths):
    found = find_checkpoint([RemoteFile(path) for path in paths], name)
    return found and found.path


def test_the_folder_of_that_name_comes_before_its_older_releases():
    paths = ("vgg19_bn_cqt_16cls_2025-01-01/save.pt", "vgg19_bn_cqt/save.pt", "vgg19_bn_mel/save.pt")
    assert _find("vgg19_bn_cqt", *paths) == "vgg19_bn_cqt/save.pt"


@pytest.mark.parametrize(
    ("older", "newer"),
    [("2023-11-30", "2024-02-01"), ("20231130", "2024-02-01"), ("2024-02-01_09-00-00", "2024-02-01_10-00-00")],
)
def test_else_the_newest_release_is_taken_however_its_date_is_written(older, newer):
    paths = [f"swin_b_mel_16cls_{date}/save.pt" for date in (older, newer)]
    assert _find("swin_b_mel", *paths) == _find("swin_b_mel", *reversed(paths)) == paths[1]


@pytest.mark.parametrize(
    "path",
    ["vgg19_bn_cqt/other.pt", "vgg19_bn_cqt_16cls/save.pt", "old/vgg19_bn_cqt/save.pt", "vgg19_bn_cqt_9cls_1/save.pt"],
)
def test_nothing_else_is_that_checkpoint(path):
    assert _find("vgg19_bn_cqt", path) is None


@pytest.mark.parametrize(
    ("path", "size", "sha256", "told"),
    [
        ("../../etc/save.pt", 1, HASH, "no checkpoint's place"),
        ("/save.pt", 1, HASH, "no checkpoint's place"),
        ("../save.pt", 1, HASH, "no checkpoint's place"),
        ("a\\..\\b/save.pt", 1, HASH, "no checkpoint's place"),
        ("a/save.pt", None, HASH, "no size"),
        ("a/save.pt", -1, HASH, "no size"),
        ("a/save.pt", 1, None, "no SHA-256"),
        ("a/save.pt", 1, "../" * 22, "no SHA-256"),
    ],
)
def test_a_listing_cannot_lead_anywhere_else(path, size, sha256, told):
    with pytest.raises(ModelRefused, match=told):
        promise(path, size, sha256)
