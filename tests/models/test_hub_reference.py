import pytest

from ccmusic.errors import InvalidParameter
from ccmusic.models.hub_reference import HubReference, parse_reference

REPOSITORY = "ccmusic-database/music_genre"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        (REPOSITORY, HubReference(REPOSITORY, "vgg19_bn_cqt", "auto")),
        (f"{REPOSITORY}@v1.0", HubReference(REPOSITORY, "vgg19_bn_cqt", "auto", "v1.0")),
        (f"hf://{REPOSITORY}", HubReference(REPOSITORY, "vgg19_bn_cqt", "huggingface")),
        (f"hf://{REPOSITORY}/vgg19_bn_mel", HubReference(REPOSITORY, "vgg19_bn_mel", "huggingface")),
        (
            f"modelscope://{REPOSITORY}/vit_b_16_cqt@refs/pr/2",
            HubReference(REPOSITORY, "vit_b_16_cqt", "modelscope", "refs/pr/2"),
        ),
    ],
)
def test_a_model_on_a_hub(text, reference):
    assert parse_reference(text) == reference
    assert parse_reference(str(reference)) in (reference, None)  # what `auto` prints is for people


@pytest.mark.parametrize(
    "text",
    ["embedded", "/models/a", "./models/a", "../models/a", "~/models/a", "models/save.pt", "models/card.json", "a/b/c"],
)
def test_a_model_on_this_disk(text):
    assert parse_reference(text) is None


def test_an_existing_directory_is_not_a_hub_reference(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert parse_reference("models/mine") is not None
    (tmp_path / "models" / "mine").mkdir(parents=True)
    assert parse_reference("models/mine") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://huggingface.co/a/b", "must begin with hf:// or modelscope:// when it is an address, not https://"),
        ("hf://music_genre", "must be hf://owner/name/checkpoint"),
        ("hf://a/b/c/d", "must be hf://owner/name/checkpoint"),
        ("hf://a/../../etc", "must be hf://owner/name/checkpoint"),
        ("hf://a/b..c/d", "must name its repository as owner/name, not 'a/b..c'"),
        ("hf://a/b/c..d", "must name one folder of the repository, not 'c..d'"),
        ("hf://a/b/c@../../x", "must name a branch, tag or commit after @, not '../../x'"),
        ("hf://a/b/c@x/../y", "must name a branch, tag or commit after @, not 'x/../y'"),
    ],
)
def test_the_error_for_an_invalid_address_shows_the_right_form(text, expected):
    with pytest.raises(InvalidParameter) as caught:
        parse_reference(text)
    assert expected in str(caught.value)
