"""Pulling, against a fake of both hubs; what is said of one hub is tried on the other too."""

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

from .conftest import CHECKPOINT, IMPATIENT

SOURCES = ("huggingface", "modelscope")
TOKEN_VARIABLE = {"huggingface": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}
both = pytest.mark.parametrize("source", SOURCES)


@pytest.fixture
def bring(hub, cache):
    """Pull from the fake, which is a mirror to the client."""

    def bring(source="huggingface", checkpoint="vgg19_bn_cqt", revision=None, **options):
        reference = HubReference(REPOSITORY, checkpoint, source, revision)
        return pull(reference, **{"cache": cache, "endpoint": hub.url, "patience": IMPATIENT, **options})

    return bring


def _official(monkeypatch, hub):
    monkeypatch.setattr(huggingface, "OFFICIAL", (hub.url,))
    monkeypatch.setattr(modelscope, "OFFICIAL", (hub.url,))


@both
def test_the_bytes_of_the_hub_in_a_folder_that_bears_the_checkpoints_name(hub, bring, source):
    path = bring(source)
    assert (path.parent.name, path.name) == ("vgg19_bn_cqt", "save.pt")
    assert path.read_bytes() == CHECKPOINT
    assert sum(request.sent_bytes for request in hub.storage_requests) == len(CHECKPOINT)  # and of no other file


@both
def test_what_is_there_is_not_fetched_again(hub, bring, source):
    first = bring(source)
    hub.requests.clear()
    assert bring(source) == first
    assert hub.storage_requests == []


@both
def test_an_older_release_is_found_and_keeps_its_name(bring, source):
    path = bring(source, "vit_b_16_mel")
    assert path.parent.name == "vit_b_16_mel_16cls_2024-11-30"
    assert path.read_bytes() == CHECKPOINT[:4000]


@both
def test_a_new_commit_is_another_file_and_the_old_one_stays(hub, bring, source):
    old_commit = hub.head
    old = bring(source)
    hub.publish({"vgg19_bn_cqt/save.pt": CHECKPOINT[::-1]})
    new = bring(source)
    assert (old.read_bytes(), new.read_bytes()) == (CHECKPOINT, CHECKPOINT[::-1])
    assert bring(source, revision=old_commit) == old


@both
def test_a_whole_commit_that_is_here_asks_nobody(hub, bring, source):
    path = bring(source, revision=hub.head)
    hub.requests.clear()
    assert bring(source, revision=hub.head) == path
    assert hub.requests == []


def test_both_hubs_fill_the_same_place(hub, bring):
    path = bring("huggingface")
    hub.requests.clear()
    assert bring("modelscope") == path
    assert hub.storage_requests == []


def test_two_at_once_fetch_it_once(hub, bring):
    paths = []
    threads = [threading.Thread(target=lambda source=source: paths.append(bring(source))) for source in SOURCES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 2
    assert len(hub.storage_requests) == 1


# what is not there, and what may not be read


@both
def test_a_checkpoint_that_is_not_there_names_those_that_are(bring, source):
    with pytest.raises(ModelFileNotFound, match=r"alexnet.*its checkpoints: vgg19_bn_cqt, vit_b_16_mel_16cls_2023"):
        bring(source, "alexnet")


@both
def test_a_repository_that_is_not_there(hub, cache, source):
    with pytest.raises(ModelFileNotFound, match=r"a/b at .* does not exist there, or is private"):
        pull(HubReference("a/b", source=source), cache=cache, endpoint=hub.url, patience=IMPATIENT)


@both
def test_a_revision_that_is_not_there(bring, source):
    with pytest.raises(ModelFileNotFound, match="music_genre@v9 at"):
        bring(source, revision="v9")


@both
def test_gated_files_want_a_token_and_take_it(hub, bring, monkeypatch, source):
    hub.gated = True
    _official(monkeypatch, hub)
    with pytest.raises(ModelRefused, match=f"gated or private.*set {TOKEN_VARIABLE[source]} to a token"):
        bring(source)
    monkeypatch.setenv(TOKEN_VARIABLE[source], TOKEN)
    assert bring(source).read_bytes() == CHECKPOINT


@both
def test_a_private_repository_is_read_with_the_token(hub, bring, monkeypatch, source):
    hub.private = True
    _official(monkeypatch, hub)
    with pytest.raises(ModelFileNotFound, match=f"or is private .then set {TOKEN_VARIABLE[source]}"):
        bring(source)
    monkeypatch.setenv(TOKEN_VARIABLE[source], TOKEN)
    assert bring(source).read_bytes() == CHECKPOINT


def test_hugging_faces_token_file_is_read(hub, bring, monkeypatch, tmp_path):
    hub.private = True
    _official(monkeypatch, hub)
    (tmp_path / "no-token").write_text(TOKEN)
    assert bring("huggingface").read_bytes() == CHECKPOINT


def test_a_token_that_is_not_known_is_told_from_none(hub, bring, monkeypatch):
    _official(monkeypatch, hub)
    monkeypatch.setenv("HF_TOKEN", "hf_of-last-year")
    with pytest.raises(ModelRefused, match="does not know the token that it was shown: renew or unset HF_TOKEN"):
        bring("huggingface")


# where the token goes


def _shown(hub):
    return {request.path for request in hub.requests if TOKEN in str(request.headers)}


@both
def test_a_mirror_is_shown_the_token_only_when_that_is_asked_for(hub, bring, monkeypatch, source):
    monkeypatch.setenv(TOKEN_VARIABLE[source], TOKEN)
    bring(source)
    assert hub.requests
    assert not _shown(hub)
    hub.gated = True
    hub.publish({"vgg19_bn_cqt/save.pt": CHECKPOINT[::-1]})
    with pytest.raises(ModelRefused, match="a mirror is not shown the token unless that is asked for"):
        bring(source)
    bring(source, token_to_mirror=True)
    assert _shown(hub)


@both
def test_the_storage_behind_the_hub_never_sees_the_token(hub, bring, monkeypatch, source):
    monkeypatch.setenv(TOKEN_VARIABLE[source], TOKEN)
    bring(source, token_to_mirror=True)
    assert _shown(hub) == {request.path for request in hub.requests if not request.at_storage}
    assert [request.host.split(":")[0] for request in hub.storage_requests] == ["localhost"]


@both
def test_the_token_is_in_no_log_and_no_error(hub, bring, monkeypatch, caplog, source):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(TOKEN_VARIABLE[source], TOKEN)
    hub.cut_after = [1000, 0, 0, 0]
    with pytest.raises(HubUnreachable) as caught:
        bring(source, token_to_mirror=True)
    chain, error = [], caught.value
    while error is not None:
        chain.append(repr(error) + str(error))
        error = error.__cause__ or error.__context__
    assert caplog.records
    assert TOKEN not in caplog.text + "".join(chain)


# without a hub


@both
def test_a_hub_that_is_gone_is_unreachable_and_says_what_to_do(hub, bring, source):
    hub.stop()
    with pytest.raises(HubUnreachable, match=r"cannot be reached: .*refused.*tried 3 times.*name a mirror"):
        bring(source)


@both
def test_a_hub_that_is_gone_leaves_what_was_pulled_before(hub, bring, caplog, source):
    path = bring(source)
    hub.stop()
    assert bring(source) == path
    assert "the model in use is the one that was pulled before" in caplog.text


@both
def test_offline_takes_what_is_here_and_asks_nobody(hub, bring, source):
    path = bring(source)
    hub.requests.clear()
    assert bring(source, offline=True) == path
    assert hub.requests == []


@both
def test_offline_without_it_says_so_and_asks_nobody(hub, bring, source, monkeypatch):
    told = r"vgg19_bn_cqt is not in .*cache, and no hub may be asked \(offline\): pull it once with a network"
    with pytest.raises(HubUnreachable, match=told):
        bring(source, offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubUnreachable, match=told):
        bring(source)
    assert hub.requests == []


@both
def test_offline_does_not_take_a_file_that_was_damaged(bring, source):
    path = bring(source)
    path.write_bytes(CHECKPOINT[:-1] + b"?")
    with pytest.raises(HubUnreachable, match="is not in"):
        bring(source, offline=True)


@both
def test_a_cache_that_may_only_be_read_is_enough(bring, cache, caplog, source):
    path = bring(source)
    (path.parent / ".lock").unlink()
    (path.parent / ".lock").mkdir()  # root too cannot open it
    shutil.rmtree(cache / "ccmusic-database--music_genre" / "refs")
    (cache / "ccmusic-database--music_genre" / "refs").write_text("no directory")
    assert bring(source) == path
    assert "offline, this will not be found" in caplog.text


def test_a_record_of_the_cache_cannot_lead_out_of_it(bring, cache, tmp_path):
    bring()
    (record,) = cache.rglob("vgg19_bn_cqt.json")
    record.write_text(record.read_text().replace("vgg19_bn_cqt/save.pt", "../../../save.pt"))
    with pytest.raises(HubUnreachable, match="is not in"):
        bring(offline=True)


@both
def test_a_page_in_between_is_told_from_a_hub(hub, bring, source):
    hub.portal = True
    with pytest.raises(
        ModelRefused, match=r"does not answer as a hub does; look at .*_ENDPOINT and the proxy settings"
    ):
        bring(source)


def test_a_listing_that_the_hub_itself_contradicts_is_not_believed(hub, bring):
    hub.contradicts = True
    with pytest.raises(
        ModelRefused, match=r"promises two different files as vgg19_bn_cqt/save.pt .*nothing was fetched"
    ):
        bring("huggingface")
    assert hub.storage_requests == []


# which hub, and which mirror


def test_auto_asks_hugging_face_and_then_modelscope(hub, bring, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
    bring("auto")
    assert not any(request.path.startswith("/api/v1/") for request in hub.requests)
    hub.publish({"vgg19_bn_cqt/save.pt": CHECKPOINT[::-1]})
    path = bring("auto", endpoint="http://127.0.0.1:9")  # nobody there
    assert path.read_bytes() == CHECKPOINT[::-1]
    assert any(request.path.startswith("/api/v1/") for request in hub.requests)


def test_auto_goes_on_with_the_other_hub_where_the_first_was_cut(hub, bring, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
    hub.cut_after = [1_000_000, 0, 0, 0]
    assert bring("auto").read_bytes() == CHECKPOINT
    assert sum(request.sent_bytes for request in hub.storage_requests) == len(CHECKPOINT)


def test_auto_without_any_hub_tells_of_both(hub, bring, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    hub.failing = 1000
    with pytest.raises(
        HubUnreachable, match=rf"{hub.url} cannot be reached: HTTP 503.*; and http://127.0.0.1:9 cannot"
    ):
        bring("auto")
    hub.failing = 0
    with pytest.raises(ModelFileNotFound, match=r"no such checkpoint.*; and http://127.0.0.1:9 cannot"):
        bring("auto", "alexnet")


@both
def test_the_environment_names_a_mirror(hub, cache, monkeypatch, source):
    monkeypatch.setenv({"huggingface": "HF_ENDPOINT", "modelscope": "MODELSCOPE_ENDPOINT"}[source], hub.url + "/")
    assert pull(HubReference(REPOSITORY, source=source), cache=cache).read_bytes() == CHECKPOINT


@pytest.mark.parametrize("endpoint", ["ftp://mirror", "mirror.example", "https://me:secret@mirror.example"])
def test_a_mirror_must_be_an_address_without_a_password(bring, endpoint):
    with pytest.raises(InvalidParameter, match="endpoint must be http"):
        bring(endpoint=endpoint)


def test_a_repository_that_was_renamed_is_found_and_its_origin_still_shown_the_token(hub, cache, monkeypatch):
    hub.private, hub.renamed_from = True, "ccmusic/genre"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    reference = HubReference("ccmusic/genre", source="huggingface")
    path = pull(reference, cache=cache, endpoint=hub.url, patience=IMPATIENT, token_to_mirror=True)
    assert path.read_bytes() == CHECKPOINT


# without the library


def test_hugging_face_needs_its_library_and_auto_does_without(hub, bring, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        DependencyUnavailable, match=r"pip install \"ccmusic\[hub\]\", or take the model from modelscope"
    ):
        bring("huggingface")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
    assert bring("auto").read_bytes() == CHECKPOINT


def test_to_know_a_reference_imports_no_client():
    loaded = "{'huggingface_hub', 'ssl', 'urllib.request'} & set(sys.modules)"
    code = f"import sys, ccmusic.models.hub_reference; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "set()\n"


def test_hugging_face_is_not_told_what_else_is_installed(hub, tmp_path):
    code = f"""if True:
        import huggingface_hub, pathlib  # before us, as Gradio does
        from ccmusic.checkpoints.hub import HubReference, pull
        reference = HubReference({REPOSITORY!r}, source="huggingface")
        pull(reference, cache=pathlib.Path({str(tmp_path)!r}), endpoint={hub.url!r})
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=os.environ)
    assert {request.headers["user-agent"] for request in hub.requests} == {f"ccmusic/{__version__}"}
