"""Pulling checkpoints from a fake of both hubs; most tests run with each of them."""

import logging
import os
import shutil
import subprocess
import sys
import threading

import pytest

from ccmusic import __version__
from ccmusic.checkpoints.hub import HubReference, huggingface, modelscope, pull
from ccmusic.errors import DependencyUnavailable, HubUnreachable, InvalidParameter, ModelFileNotFound, ModelRefused
from support.fake_hub import REPOSITORY, TOKEN

from .conftest import CHECKPOINT, FAST_RETRY

SOURCES = ("huggingface", "modelscope")
TOKEN_VARIABLE = {"huggingface": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}
both = pytest.mark.parametrize("source", SOURCES)


@pytest.fixture
def pull_from_fake(hub, cache):
    """Pull from the fake hub, which counts as a mirror."""

    def pull_from_fake(source="huggingface", checkpoint="vgg19_bn_cqt", revision=None, **options):
        reference = HubReference(REPOSITORY, checkpoint, source, revision)
        return pull(reference, **{"cache": cache, "endpoint": hub.url, "retry_policy": FAST_RETRY, **options})

    return pull_from_fake


def _make_official(monkeypatch, hub):
    monkeypatch.setattr(huggingface, "OFFICIAL", (hub.url,))
    monkeypatch.setattr(modelscope, "OFFICIAL", (hub.url,))


@both
def test_the_file_of_the_hub_is_in_a_folder_with_the_checkpoints_name(hub, pull_from_fake, source):
    path = pull_from_fake(source)
    assert (path.parent.name, path.name) == ("vgg19_bn_cqt", "save.pt")
    assert path.read_bytes() == CHECKPOINT
    assert sum(request.sent_bytes for request in hub.storage_requests) == len(CHECKPOINT)  # no other file


@both
def test_a_file_in_the_cache_is_not_downloaded_again(hub, pull_from_fake, source):
    first = pull_from_fake(source)
    hub.requests.clear()
    assert pull_from_fake(source) == first
    assert hub.storage_requests == []


@both
def test_an_older_release_is_found_and_keeps_its_name(pull_from_fake, source):
    path = pull_from_fake(source, "vit_b_16_mel")
    assert path.parent.name == "vit_b_16_mel_16cls_2024-11-30"
    assert path.read_bytes() == CHECKPOINT[:4000]


@both
def test_a_new_commit_is_another_file_and_the_old_file_is_kept(hub, pull_from_fake, source):
    old_commit = hub.head
    old = pull_from_fake(source)
    hub.publish({"vgg19_bn_cqt/save.pt": CHECKPOINT[::-1]})
    new = pull_from_fake(source)
    assert (old.read_bytes(), new.read_bytes()) == (CHECKPOINT, CHECKPOINT[::-1])
    assert pull_from_fake(source, revision=old_commit) == old


@both
def test_a_full_commit_hash_that_is_in_the_cache_needs_no_request(hub, pull_from_fake, source):
    path = pull_from_fake(source, revision=hub.head)
    hub.requests.clear()
    assert pull_from_fake(source, revision=hub.head) == path
    assert hub.requests == []


def test_both_hubs_fill_the_same_cache_entry(hub, pull_from_fake):
    path = pull_from_fake("huggingface")
    hub.requests.clear()
    assert pull_from_fake("modelscope") == path
    assert hub.storage_requests == []


def test_two_pulls_at_the_same_time_download_once(hub, pull_from_fake):
    paths = []
    threads = [
        threading.Thread(target=lambda source=source: paths.append(pull_from_fake(source))) for source in SOURCES
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 2
    assert len(hub.storage_requests) == 1


# missing and unreadable repositories


@both
def test_the_error_for_a_missing_checkpoint_lists_the_existing_ones(pull_from_fake, source):
    with pytest.raises(ModelFileNotFound, match=r"alexnet.*its checkpoints: vgg19_bn_cqt, vit_b_16_mel_16cls_2023"):
        pull_from_fake(source, "alexnet")


@both
def test_a_missing_repository(hub, cache, source):
    with pytest.raises(ModelFileNotFound, match=r"a/b at .* does not exist there, or is private"):
        pull(HubReference("a/b", source=source), cache=cache, endpoint=hub.url, retry_policy=FAST_RETRY)


@both
def test_a_missing_revision(pull_from_fake, source):
    with pytest.raises(ModelFileNotFound, match="music_genre@v9 at"):
        pull_from_fake(source, revision="v9")


@both
def test_a_gated_file_needs_a_token(hub, pull_from_fake, monkeypatch, source):
    hub.gated = True
    _make_official(monkeypatch, hub)
    with pytest.raises(ModelRefused, match=f"gated or private.*set {TOKEN_VARIABLE[source]} to a token"):
        pull_from_fake(source)
    monkeypatch.setenv(TOKEN_VARIABLE[source], TOKEN)
    assert pull_from_fake(source).read_bytes() == CHECKPOINT


@both
def test_a_private_repository_needs_a_token(hub, pull_from_fake, monkeypatch, source):
    hub.private = True
    _make_official(monkeypatch, hub)
    with pytest.raises(ModelFileNotFound, match=f"or is private .then set {TOKEN_VARIABLE[source]}"):
        pull_from_fake(source)
    monkeypatch.setenv(TOKEN_VARIABLE[source], TOKEN)
    assert pull_from_fake(source).read_bytes() == CHECKPOINT


def test_the_token_file_of_hugging_face_is_read(hub, pull_from_fake, monkeypatch, tmp_path):
    hub.private = True
    _make_official(monkeypatch, hub)
    (tmp_path / "no-token").write_text(TOKEN)
    assert pull_from_fake("huggingface").read_bytes() == CHECKPOINT


def test_an_unknown_token_has_an_error_of_its_own(hub, pull_from_fake, monkeypatch):
    _make_official(monkeypatch, hub)
    monkeypatch.setenv("HF_TOKEN", "hf_of-last-year")
    with pytest.raises(ModelRefused, match="does not know the token that it was sent: renew or unset HF_TOKEN"):
        pull_from_fake("huggingface")


# which server gets the token


def _paths_with_token(hub):
    return {request.path for request in hub.requests if TOKEN in str(request.headers)}


@both
def test_a_mirror_gets_the_token_only_if_the_configuration_allows_it(hub, pull_from_fake, monkeypatch, source):
    monkeypatch.setenv(TOKEN_VARIABLE[source], TOKEN)
    pull_from_fake(source)
    assert hub.requests
    assert not _paths_with_token(hub)
    hub.gated = True
    hub.publish({"vgg19_bn_cqt/save.pt": CHECKPOINT[::-1]})
    with pytest.raises(ModelRefused, match="the token is not sent to a mirror unless the configuration allows it"):
        pull_from_fake(source)
    pull_from_fake(source, token_to_mirror=True)
    assert _paths_with_token(hub)


@both
def test_the_storage_behind_the_hub_never_gets_the_token(hub, pull_from_fake, monkeypatch, source):
    monkeypatch.setenv(TOKEN_VARIABLE[source], TOKEN)
    pull_from_fake(source, token_to_mirror=True)
    assert _paths_with_token(hub) == {request.path for request in hub.requests if not request.at_storage}
    assert [request.host.split(":")[0] for request in hub.storage_requests] == ["localhost"]


@both
def test_no_log_line_and_no_error_contains_the_token(hub, pull_from_fake, monkeypatch, caplog, source):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(TOKEN_VARIABLE[source], TOKEN)
    hub.cut_after = [1000, 0, 0, 0]
    with pytest.raises(HubUnreachable) as caught:
        pull_from_fake(source, token_to_mirror=True)
    chain, error = [], caught.value
    while error is not None:
        chain.append(repr(error) + str(error))
        error = error.__cause__ or error.__context__
    assert caplog.records
    assert TOKEN not in caplog.text + "".join(chain)


# unreachable hubs
@both
def test_the_error_for_an_unreachable_hub_says_what_to_do(hub, pull_from_fake, source):
    hub.stop()
    with pytest.raises(HubUnreachable, match=r"cannot be reached: .*refused.*tried 3 times.*name a mirror"):
        pull_from_fake(source)


@both
def test_if_the_hub_is_unreachable_the_cached_file_is_used(hub, pull_from_fake, caplog, source):
    path = pull_from_fake(source)
    hub.stop()
    assert pull_from_fake(source) == path
    assert "the copy in the cache is used" in caplog.text


@both
def test_offline_uses_the_cache_and_sends_no_request(hub, pull_from_fake, source):
    path = pull_from_fake(source)
    hub.requests.clear()
    assert pull_from_fake(source, offline=True) == path
    assert hub.requests == []


@both
def test_offline_with_an_empty_cache_is_an_error_and_sends_no_request(hub, pull_from_fake, source, monkeypatch):
    message = r"vgg19_bn_cqt is not in .*cache, and no hub may be asked \(offline\): pull it once with a network"
    with pytest.raises(HubUnreachable, match=message):
        pull_from_fake(source, offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubUnreachable, match=message):
        pull_from_fake(source)
    assert hub.requests == []


@both
def test_offline_does_not_use_a_damaged_file(pull_from_fake, source):
    path = pull_from_fake(source)
    path.write_bytes(CHECKPOINT[:-1] + b"?")
    with pytest.raises(HubUnreachable, match="is not in"):
        pull_from_fake(source, offline=True)


@both
def test_a_read_only_cache_is_enough(pull_from_fake, cache, caplog, source):
    path = pull_from_fake(source)
    (path.parent / ".lock").unlink()
    (path.parent / ".lock").mkdir()  # even root cannot open it as a file
    shutil.rmtree(cache / "ccmusic-database--music_genre" / "refs")
    (cache / "ccmusic-database--music_genre" / "refs").write_text("no directory")
    assert pull_from_fake(source) == path
    assert "this will not be found offline" in caplog.text


def test_a_record_in_the_cache_cannot_name_a_path_outside_of_it(pull_from_fake, cache, tmp_path):
    pull_from_fake()
    (record,) = cache.rglob("vgg19_bn_cqt.json")
    record.write_text(record.read_text().replace("vgg19_bn_cqt/save.pt", "../../../save.pt"))
    with pytest.raises(HubUnreachable, match="is not in"):
        pull_from_fake(offline=True)


@both
def test_a_login_page_of_a_network_is_not_taken_for_a_hub(hub, pull_from_fake, source):
    hub.portal = True
    with pytest.raises(ModelRefused, match=r"does not answer as a hub does; check .*_ENDPOINT and the proxy settings"):
        pull_from_fake(source)


def test_a_listing_that_the_hub_contradicts_is_refused(hub, pull_from_fake):
    hub.contradicts = True
    with pytest.raises(
        ModelRefused, match=r"describes two different files as vgg19_bn_cqt/save.pt .*nothing was fetched"
    ):
        pull_from_fake("huggingface")
    assert hub.storage_requests == []


# the choice of hub and mirror


def test_auto_tries_hugging_face_and_then_modelscope(hub, pull_from_fake, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
    pull_from_fake("auto")
    assert not any(request.path.startswith("/api/v1/") for request in hub.requests)
    hub.publish({"vgg19_bn_cqt/save.pt": CHECKPOINT[::-1]})
    path = pull_from_fake("auto", endpoint="http://127.0.0.1:9")  # no server
    assert path.read_bytes() == CHECKPOINT[::-1]
    assert any(request.path.startswith("/api/v1/") for request in hub.requests)


def test_auto_resumes_a_partial_download_from_the_other_hub(hub, pull_from_fake, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
    hub.cut_after = [1_000_000, 0, 0, 0]
    assert pull_from_fake("auto").read_bytes() == CHECKPOINT
    assert sum(request.sent_bytes for request in hub.storage_requests) == len(CHECKPOINT)


def test_auto_reports_the_errors_of_both_hubs(hub, pull_from_fake, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    hub.failing = 1000
    with pytest.raises(
        HubUnreachable, match=rf"{hub.url} cannot be reached: HTTP 503.*; and http://127.0.0.1:9 cannot"
    ):
        pull_from_fake("auto")
    hub.failing = 0
    with pytest.raises(ModelFileNotFound, match=r"no such checkpoint.*; and http://127.0.0.1:9 cannot"):
        pull_from_fake("auto", "alexnet")


@both
def test_an_environment_variable_names_a_mirror(hub, cache, monkeypatch, source):
    monkeypatch.setenv({"huggingface": "HF_ENDPOINT", "modelscope": "MODELSCOPE_ENDPOINT"}[source], hub.url + "/")
    assert pull(HubReference(REPOSITORY, source=source), cache=cache).read_bytes() == CHECKPOINT


@pytest.mark.parametrize("endpoint", ["ftp://mirror", "mirror.example", "https://me:secret@mirror.example"])
def test_the_address_of_a_mirror_must_not_contain_a_password(pull_from_fake, endpoint):
    with pytest.raises(InvalidParameter, match="endpoint must be http"):
        pull_from_fake(endpoint=endpoint)


def test_a_redirect_within_the_hub_keeps_the_token(hub, cache, monkeypatch):
    hub.private, hub.renamed_from = True, "ccmusic/genre"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    reference = HubReference("ccmusic/genre", source="huggingface")
    path = pull(reference, cache=cache, endpoint=hub.url, retry_policy=FAST_RETRY, token_to_mirror=True)
    assert path.read_bytes() == CHECKPOINT


# packages


def test_hugging_face_needs_its_library_but_auto_does_not(hub, pull_from_fake, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        DependencyUnavailable, match=r"pip install \"ccmusic\[hub\]\", or take the model from modelscope"
    ):
        pull_from_fake("huggingface")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
    assert pull_from_fake("auto").read_bytes() == CHECKPOINT


@pytest.mark.parametrize(
    ("module", "clients"),
    [
        ("ccmusic.models.hub_reference", {"huggingface_hub", "ssl", "urllib.request"}),
        ("ccmusic.models.store", {"huggingface_hub", "ssl", "urllib.request"}),
        # FastAPI itself imports ssl and urllib.request
        ("ccmusic.serving.app", {"huggingface_hub", "ccmusic.checkpoints.hub"}),
    ],
)
def test_serving_imports_no_hub_client(module, clients):
    code = f"import sys, {module}; print({clients} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "set()\n"


def test_hugging_face_does_not_learn_which_packages_are_installed(hub, tmp_path):
    code = f"""if True:
        import huggingface_hub, pathlib  # before ccmusic, as Gradio does
        from ccmusic.checkpoints.hub import HubReference, pull
        reference = HubReference({REPOSITORY!r}, source="huggingface")
        pull(reference, cache=pathlib.Path({str(tmp_path)!r}), endpoint={hub.url!r})
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=os.environ)
    assert {request.headers["user-agent"] for request in hub.requests} == {f"ccmusic/{__version__}"}
