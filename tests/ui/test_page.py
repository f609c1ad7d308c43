"""The page without a browser: its configuration, its functions, its Gradio API."""

import asyncio
import json
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ccmusic.errors import UndecodableAudio
from ccmusic.genres import CCMUSIC, WORLD, taxonomy_of
from ccmusic.inference.occlusion import ExplainPlan
from ccmusic.ui.answer import NOTHING, Question, Shown
from ccmusic.ui.texts import TEXTS, TITLE
from ui.stub_service import StubService, track_result


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(b"RIFF stub")
    return path


@pytest.fixture
def gradio_client(page_server):
    client_module = pytest.importorskip("gradio_client")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the client library
        client = client_module.Client(page_server.url, verbose=False)
    client.handle_file = client_module.handle_file
    yield client
    client.close()


def test_the_page_has_the_title_and_both_languages(client):
    config = client.get("/config").json()
    assert config["title"] == TITLE
    assert config["i18n_translations"]["zh"]["description"] == TEXTS["zh"]["description"]
    assert config["i18n_translations"]["en"]["description"] == TEXTS["en"]["description"]


def test_an_api_client_gets_five_genres(gradio_client, page_server, clip):
    answer = gradio_client.predict(gradio_client.handle_file(clip), "first30", api_name="/classify")
    assert answer["label"] == "Chamber"
    assert len(answer["confidences"]) == 5
    assert [windows for _, windows, _ in page_server.service.calls] == ["first30"]
    assert page_server.service.clients == ["127.0.0.1"]


def test_an_api_client_gets_failures_as_errors(gradio_client, page_server, clip):
    page_server.service.ready = False
    with pytest.raises(Exception, match="still loading"):
        gradio_client.predict(gradio_client.handle_file(clip), api_name="/classify")
    page_server.service.ready = True
    page_server.service.result = UndecodableAudio("no such codec")
    with pytest.raises(Exception, match=r"cannot be decoded.*no such codec"):
        gradio_client.predict(gradio_client.handle_file(clip), api_name="/classify")


def test_many_concurrent_clips_are_all_answered(gradio_client, clip):
    with ThreadPoolExecutor(16) as pool:
        jobs = [
            pool.submit(gradio_client.predict, gradio_client.handle_file(clip), api_name="/classify") for _ in range(16)
        ]
        assert {job.result()["label"] for job in jobs} == {"Chamber"}


@pytest.mark.parametrize(
    ("taxonomies", "visible"),
    [((CCMUSIC,), False), ((), False), ((CCMUSIC, WORLD), True), ((taxonomy_of("own", ("a", "b")), WORLD), True)],
)
def test_the_choice_of_taxonomies_is_visible_if_there_are_several(page_server, tmp_path, taxonomies, visible):
    from ccmusic.settings import Settings
    from ccmusic.ui.page import Page

    page_server.service.taxonomies = taxonomies
    request = SimpleNamespace(headers={"accept-language": "zh-CN"}, request=None)
    _, _, choice, *_ = asyncio.run(Page(page_server.service, Settings(), tmp_path).readiness(request))
    assert choice["visible"] is visible
    if visible:
        assert choice["value"] == taxonomies[0].name
        assert choice["choices"] == [(TEXTS["zh"][f"taxonomy.{t.name}"], t.name) for t in taxonomies]


def test_routes_of_the_application_come_before_the_page(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.post("/health").status_code == 405
    assert "FastAPI" in client.get("/docs").text
    assert client.get("/v1/nothing").json() == {"detail": "Not Found"}
    assert client.head("/").status_code == 200


def test_examples_are_read_from_the_first_directory_that_has_some(tmp_path):
    from ccmusic.ui.example_clips import read_examples

    assert read_examples((tmp_path / "none",)) == ()
    (tmp_path / "a.ogg").touch()
    entries = [
        {"file": "a.ogg", "title_en": "A", "title_zh": "甲", "expected_level2": "Classic"},
        {"file": "missing.ogg", "title_en": "B", "title_zh": "乙", "expected_level2": "Classic"},
    ]
    (tmp_path / "examples.json").write_text(json.dumps(entries), encoding="utf-8")
    [example] = read_examples((tmp_path / "none", tmp_path))
    assert example.path == tmp_path / "a.ogg"
    assert example.titles == {"en": "A", "zh": "甲"}


def test_examples_are_not_deleted_with_old_uploads(tmp_path, monkeypatch):
    from gradio.route_utils import delete_files_created_by_app

    from ccmusic.settings import Settings
    from ccmusic.ui import page
    from ccmusic.ui.example_clips import Example

    (tmp_path / "a.ogg").touch()
    (tmp_path / "uploads").mkdir()
    example = Example(tmp_path / "a.ogg", {"en": "A", "zh": "甲"})
    monkeypatch.setattr(page, "read_examples", lambda: (example,))

    async def build():
        return page.build_page(StubService(), Settings(), tmp_path / "uploads")

    blocks, _ = asyncio.run(build())  # without a running loop, Gradio leaves loops open
    [audio] = [block for block in blocks.blocks.values() if getattr(block, "elem_id", None) == "audio"]
    offered, upload = tmp_path / "uploads" / "examples" / "a.ogg", tmp_path / "uploads" / "clip.wav"
    upload.touch()
    audio.temp_files.update({str(offered), str(upload)})
    delete_files_created_by_app(blocks, age=None)
    assert offered.exists()
    assert not upload.exists()


def test_the_page_shows_answers_and_notices_and_never_raises(page_server, clip, tmp_path):
    from ccmusic.settings import Settings
    from ccmusic.ui.page import Page

    request = SimpleNamespace(headers={"accept-language": "zh-CN,zh;q=0.9"}, request=None, session_hash="one")
    page = Page(page_server.service, Settings(), tmp_path)
    shown = asyncio.run(page.show(str(clip), "whole", None, request))
    notice, _, headline, label, levels, model, track, genres, explained, _ = shown
    assert notice == explained == ""
    assert "室内乐" in headline
    assert label["visible"] is True
    assert next(iter(label["value"])) == "室内乐"
    assert all("cc-" in piece for piece in (levels, model, track, genres))

    page_server.service.result = RuntimeError("no")
    logging.disable(logging.ERROR)
    try:
        notice, placeholder, headline, label, *rest, _ = asyncio.run(page.show(str(clip), "whole", None, request))
    finally:
        logging.disable(logging.NOTSET)
    assert TEXTS["zh"]["error.unexpected"] in notice
    assert placeholder["visible"] is True
    assert label == {"visible": False, "value": None, "label": "", "__type__": "update"}
    assert headline == ""
    assert rest == ["", "", "", "", ""]


@pytest.fixture
def page(page_server, tmp_path):
    from ccmusic.settings import Settings
    from ccmusic.ui.page import Page

    return Page(page_server.service, Settings(), tmp_path / "uploads")


@pytest.fixture
def request_in_english():
    return SimpleNamespace(headers={"accept-language": "en"}, request=None, session_hash="one")


def test_what_answers_another_question_is_forgotten(page, clip, request_in_english):
    *_, shown = asyncio.run(page.show(str(clip), "whole", "ccmusic", request_in_english))

    def forgotten(*question: str | None) -> tuple[object, ...]:
        return asyncio.run(page.forget_old(*question, shown, request_in_english))

    assert all(update == {"__type__": "update"} for update in forgotten(str(clip), "whole", "ccmusic"))
    for other in ((None, "whole", "ccmusic"), (str(clip), "first30", "ccmusic"), (str(clip), "whole", "world")):
        notice, placeholder, headline, label, *rest, now = forgotten(*other)
        assert (notice, headline, *rest) == ("",) * 7
        assert (placeholder["visible"], label["visible"], label["value"]) == (True, False, None)
        assert now.question is None


def test_the_page_is_not_emptied_while_the_present_question_is_being_answered(
    page, page_server, clip, request_in_english, monkeypatch
):
    other_visitor = SimpleNamespace(headers={}, request=None, session_hash="another")
    question = (str(clip), "first30", "ccmusic")

    async def emptied(request) -> bool:
        *_, now = await page.forget_old(*question, Shown(Question(str(clip), "whole", "ccmusic")), request)
        return now == NOTHING

    async def during_an_answer() -> tuple[bool, bool]:
        asked, released = asyncio.Event(), asyncio.Event()
        answer = page_server.service.classify

        async def held(*arguments, **options):
            asked.set()
            await released.wait()
            return await answer(*arguments, **options)

        monkeypatch.setattr(page_server.service, "classify", held)
        answering = asyncio.create_task(page.show(*question, request_in_english))
        await asked.wait()
        seen = await emptied(request_in_english), await emptied(other_visitor)
        released.set()
        await answering
        return seen

    assert asyncio.run(during_an_answer()) == (False, True)
    assert asyncio.run(emptied(request_in_english))


def test_the_explanation_is_of_the_headline(page, page_server, clip, request_in_english):
    page_server.service.result = replace(track_result(), sure_level=2)
    question = (str(clip), "whole", "ccmusic")
    *_, shown = asyncio.run(page.show(*question, request_in_english))
    asyncio.run(page.explain(*question, 0, shown, request_in_english))
    asyncio.run(page.explain(str(clip), "whole", "world", 2, shown, request_in_english))
    assert page_server.service.plans == [
        ExplainPlan(taxonomy="ccmusic", level=2),
        ExplainPlan(window=1, taxonomy="world"),  # another question than the answer shown
    ]


def test_the_page_of_a_model_with_labels_of_its_own_speaks_of_those(page, page_server, request_in_english):
    page_server.service.taxonomies = (taxonomy_of("own", ("low", "middle", "high")),)
    *_, description, footer = asyncio.run(page.readiness(request_in_english))
    assert "the 3 genres of this model" in description
    assert "ccMusic dataset" not in footer
    page_server.service.taxonomies = (CCMUSIC, WORLD)
    *_, description, footer = asyncio.run(page.readiness(request_in_english))
    assert description == footer == {"__type__": "update"}


def test_two_answers_are_independent(gradio_client, page_server, clip):
    first = gradio_client.predict(gradio_client.handle_file(clip), api_name="/classify")
    page_server.service.result = track_result(likeliest=0)
    second = gradio_client.predict(gradio_client.handle_file(clip), api_name="/classify")
    assert (first["label"], second["label"]) == ("Chamber", "Symphony")
