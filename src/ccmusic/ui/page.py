"""The page: Gradio components, and the functions that they call."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # must be set before the import of Gradio: nothing is reported

import gradio as gr

from ccmusic.errors import CcmusicError
from ccmusic.genres import OWN, TAXONOMIES
from ccmusic.settings import Settings
from ccmusic.ui import cards
from ccmusic.ui.answer import (
    NOTHING,
    TOP_CLASSES,
    Answer,
    PageService,
    Question,
    Shown,
    answer_clip,
    confidences,
    explain_clip,
    readiness_html,
)
from ccmusic.ui.example_clips import Example, copied, read_examples
from ccmusic.ui.texts import TEXTS, TITLE, Language, error_text, language_of, text
from ccmusic.ui.upload_directory import KEEP_SECONDS, SWEEP_SECONDS

READINESS_SECONDS = 1.0
"""How often the page asks for the readiness of the model until it is ready."""

CSS_PATH = Path(__file__).with_name("page.css")

FONTS = ("system-ui", "-apple-system", "Segoe UI", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif")
"""Fonts of the reader's system; none is downloaded."""


def theme() -> gr.themes.Base:
    """The colours and fonts of the page."""
    mono = ("ui-monospace", "monospace")
    return gr.themes.Soft(
        primary_hue="purple", secondary_hue="fuchsia", neutral_hue="slate", font=FONTS, font_mono=mono
    )


def translations(examples: tuple[Example, ...] = ()) -> gr.I18n:
    """The texts of both languages; the browser chooses one of them."""
    tables = {
        language: {**TEXTS[language], **{f"example.{i}": e.titles[language] for i, e in enumerate(examples)}}
        for language in TEXTS
    }
    return gr.I18n(en=tables["en"], zh=tables["zh"])


def _slot(name: str) -> gr.HTML:
    """A place for HTML; it takes no space while it is empty."""
    return gr.HTML(elem_id=name, elem_classes="cc-slot", padding=False)


def _language(request: gr.Request) -> Language:
    return language_of(request.headers.get("accept-language"))


def _client(request: gr.Request) -> str:
    """The name of the client that presses a button."""
    sent = request.request
    return "" if sent is None else str(sent.scope.get("client_name", ""))


class Page:
    """The components of the page and the functions that they call.

    Parameters
    ----------
    service : PageService
    settings : Settings
    upload_directory : Path
        Gradio's directory for uploads. The examples are copied there, because Gradio serves no other files.
    """

    def __init__(self, service: PageService, settings: Settings, upload_directory: Path) -> None:
        self._service = service
        self._settings = settings
        self._examples = copied(read_examples(), upload_directory / "examples")
        self.i18n = translations(self._examples)
        self._being_answered: Counter[tuple[str | None, Question]] = Counter()

    def build(self) -> gr.Blocks:
        """Create the components and connect them to their functions."""
        t = self.i18n
        with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(SWEEP_SECONDS, KEEP_SECONDS)) as page:
            gr.HTML(cards.header_html(), elem_classes="cc-slot", padding=False)
            self._description = gr.Markdown(t("description"), elem_classes="cc-lead")
            self._readiness = _slot("readiness")
            with gr.Tabs():
                with gr.Tab(t("tab.classify"), id="classify") as classify_tab:
                    self._build_classify(t)
                with gr.Tab(t("tab.status"), id="status") as status_tab:
                    self._status = _slot("status")
            self._footer = gr.Markdown(t("footer"), elem_id="footer")
            self._connect_status(page, classify_tab, status_tab)
        # Larger than the queue of the service, so that the service decides, and the reader sees its error text.
        page.max_threads = 2 * self._settings.max_queue
        page.queue(max_size=2 * self._settings.max_queue, api_open=False, default_concurrency_limit=None)
        return page

    def _build_classify(self, t: gr.I18n) -> None:
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=300):
                audio = gr.Audio(
                    type="filepath",
                    sources=["upload", "microphone"],
                    label=t("clip"),
                    elem_id="audio",
                    editable=False,
                    buttons=[],  # the default has a button that shares the recording on a public site
                )
                # For the sample code of the API; the default of Gradio is a URL, which is refused here.
                audio.example_payload = lambda: {"path": "clip.wav", "meta": {"_type": "gradio.FileData"}}
                # A chosen example counts as a file of this component, and Gradio deletes old files of components.
                audio.keep_in_cache.update(str(example.path) for example in self._examples)
                windows = gr.Radio(
                    [(t("windows.whole"), "whole"), (t("windows.first30"), "first30")],
                    value="whole",
                    label=t("windows"),
                    elem_id="windows",
                )
                # `readiness` shows it if the model has more than one taxonomy.
                self._taxonomy = gr.Radio(
                    [(t(f"taxonomy.{name}"), name) for name in (*TAXONOMIES, OWN)],
                    label=t("taxonomy"),
                    elem_id="taxonomy",
                    visible=False,
                )
                run = gr.Button(t("run"), variant="primary", size="lg", elem_id="run")
                notice = _slot("notice")
                buttons = self._build_examples(t)
            with gr.Column(scale=6, min_width=300):
                placeholder = gr.Markdown(t("empty"), elem_id="placeholder")
                headline = _slot("headline")
                label = gr.Label(
                    num_top_classes=TOP_CLASSES, label=t("genre"), elem_id="label", visible=False, show_heading=False
                )
                model = _slot("model")
                levels = _slot("levels")
        track = _slot("track")
        genres = _slot("genres")

        explain, number, explanation = self._build_explanation(t)
        answer = [notice, placeholder, headline, label, levels, model, track, genres, explanation]
        self._connect_answers([audio, windows, self._taxonomy], answer, run, buttons, explain, number)
        # For API clients of Gradio: only the label, and errors as exceptions. POST /v1/classify offers more.
        gr.Button(visible=False).click(
            self.classify,
            inputs=[audio, windows],
            outputs=gr.Label(num_top_classes=TOP_CLASSES, visible=False),
            api_name="classify",
            api_description="Classify a recording: the five likeliest genres, with probabilities.",
            concurrency_limit=None,
        )

    def _connect_answers(
        self,
        asked: list[Any],
        answer: list[Any],
        run: gr.Button,
        buttons: list[tuple[gr.Button, Example]],
        explain: gr.Button,
        number: gr.Number,
    ) -> None:
        """Connect the buttons. `asked` are the components of a `Question`, `answer` those of what is shown for it."""
        audio, windows, taxonomy = asked
        _, placeholder, _, label, *_, explanation = answer
        shown = gr.State(NOTHING)
        # A second press during the first asks about what is chosen then, and no change remains unnoticed.
        common = {"api_visibility": "private", "trigger_mode": "always_last"}
        classifying = {
            "fn": self.show,
            "inputs": asked,
            "outputs": [*answer, shown],
            "concurrency_limit": None,
            "show_progress_on": [placeholder, label],
            **common,
        }
        # After each change, and after each answer: the question may have changed while it was being answered.
        checking = {
            "fn": self.forget_old,
            "inputs": [*asked, shown],
            "outputs": [*answer, shown],
            "queue": False,
            "show_progress": "hidden",
            **common,
        }
        gr.on([audio.change, windows.input, taxonomy.input], **checking)
        run.click(**classifying).then(**checking)
        for button, example in buttons:
            chosen = button.click(
                lambda path=str(example.path): path, outputs=audio, api_visibility="private", queue=False
            )
            chosen.then(**classifying).then(**checking)
        explain.click(
            self.explain,
            inputs=[*asked, number, shown],
            outputs=[explanation, shown],
            concurrency_limit=None,
            show_progress_on=[explain],
            **common,
        ).then(**checking)

    def _build_explanation(self, t: gr.I18n) -> tuple[gr.Button, gr.Number, gr.HTML]:
        """The button, the number of the window, and the place of the explanation."""
        with gr.Accordion(t("explain.title"), open=False, elem_id="explain"):
            gr.Markdown(t("explain.lead"), elem_classes="cc-lead")
            number = gr.Number(0, label=t("explain.window"), precision=0, minimum=0, elem_id="explain-window")
            button = gr.Button(t("explain.run"), size="sm", elem_id="explain-run")
            return button, number, _slot("explanation")

    def _build_examples(self, t: gr.I18n) -> list[tuple[gr.Button, Example]]:
        if not self._examples:
            return []
        gr.Markdown(t("examples"), elem_classes="cc-examples-title")
        with gr.Row(elem_id="examples"):
            return [
                (gr.Button(t(f"example.{i}"), size="sm", variant="secondary", min_width=180), example)
                for i, example in enumerate(self._examples)
            ]

    def _connect_status(self, page: gr.Blocks, classify_tab: gr.Tab, status_tab: gr.Tab) -> None:
        # Not queued: these read the snapshot, and must work while the queue is full.
        private = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
        waiting = gr.Timer(READINESS_SECONDS, active=False)
        shown = [self._readiness, waiting, self._taxonomy, self._description, self._footer]
        page.load(self.readiness, outputs=shown, **private)
        waiting.tick(self.readiness, outputs=shown, **private)

        refreshing = gr.Timer(cards.STATUS_REFRESH_SECONDS, active=False)
        status_tab.select(self.status, outputs=self._status, **private)
        status_tab.select(lambda: gr.Timer(active=True), outputs=refreshing, **private)
        classify_tab.select(lambda: gr.Timer(active=False), outputs=refreshing, **private)
        refreshing.tick(self.status, outputs=self._status, **private)

    async def show(self, audio: str | None, windows: str, taxonomy: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Classify a clip for the page; failures become notices. An explanation of an earlier answer disappears."""
        question = Question(audio, windows, taxonomy)
        work = (request.session_hash, question)
        self._being_answered[work] += 1
        try:
            answer = await answer_clip(self._service, question, _language(request), _client(request))
        finally:
            self._being_answered[work] -= 1
            if not self._being_answered[work]:
                del self._being_answered[work]
        return (*self._updates(answer), "", Shown(question, answer.level))

    async def forget_old(
        self, audio: str | None, windows: str, taxonomy: str | None, shown: Shown, request: gr.Request
    ) -> tuple[Any, ...]:
        """Empty the page if what it shows answers another question than the present one.

        It stays if the present one is being answered: the answer replaces it, and emptying the page could come after
        that.
        """
        emptied = (*self._updates(Answer("")), "", NOTHING)
        question = Question(audio, windows, taxonomy)
        is_current = shown.question in (None, question) or (request.session_hash, question) in self._being_answered
        return (gr.skip(),) * len(emptied) if is_current else emptied

    @staticmethod
    def _updates(answer: Answer) -> tuple[Any, ...]:
        answered = answer.confidences is not None
        return (
            answer.notice,
            gr.update(visible=not answered),
            answer.headline,
            gr.update(value=answer.confidences, visible=answered, label=answer.confidences_title),
            answer.levels,
            answer.model,
            answer.track,
            answer.genres,
        )

    async def classify(self, audio: str | None, windows: str, request: gr.Request) -> dict[str, float]:
        """Classify a recording: the five likeliest genres, with probabilities.

        Parameters
        ----------
        audio : str or None
            The recording, as a file.
        windows : str
            ``whole``, or ``first30`` for the first 30 seconds only.

        Returns
        -------
        dict of str to float
        """
        language = _language(request)
        if audio is None:
            raise gr.Error(text("notice.no_clip", language), print_exception=False)
        try:
            result = await self._service.classify(
                Path(audio), windows=windows, spectrogram=False, client=_client(request)
            )
        except CcmusicError as error:
            raise gr.Error(f"{error_text(error, language)} ({error})", print_exception=False) from error
        return confidences(result, language)

    async def explain(
        self,
        audio: str | None,
        windows: str,
        taxonomy: str | None,
        number: float | None,
        shown: Shown,
        request: gr.Request,
    ) -> tuple[str, Shown]:
        """Explain why a window got the genre of the headline, or its likeliest genre if no answer is shown."""
        question = Question(audio, windows, taxonomy)
        known = shown if shown.question == question else Shown(question)
        client = _client(request)
        return await explain_clip(self._service, question, known.level, number, _language(request), client), known

    async def readiness(self, request: gr.Request) -> tuple[Any, ...]:
        """A notice while the model loads, then its taxonomies and texts. The timer stops when the model is ready."""
        snapshot, language = self._service.snapshot(), _language(request)
        taxonomies = () if snapshot.served is None else snapshot.served.taxonomies
        choice = gr.update(visible=False, value=None)
        if len(taxonomies) > 1:
            choices = [(text(f"taxonomy.{taxonomy.name}", language), taxonomy.name) for taxonomy in taxonomies]
            choice = gr.update(visible=True, choices=choices, value=taxonomies[0].name)
        description, footer = gr.skip(), gr.skip()
        if taxonomies and taxonomies[0].name == OWN:
            description = text("description.own", language, n=len(taxonomies[0].labels))
            footer = text("footer.own", language)
        waiting = gr.Timer(active=snapshot.model_status != "ready")
        return readiness_html(snapshot, language), waiting, choice, description, footer

    async def status(self, request: gr.Request) -> str:
        """The status of the service."""
        return cards.status_html(self._service.snapshot(), _language(request))


def build_page(service: PageService, settings: Settings, upload_directory: Path) -> tuple[gr.Blocks, gr.I18n]:
    """Build the page.

    Parameters
    ----------
    service : PageService
        The running service.
    settings : Settings
    upload_directory : Path
        The value of ``GRADIO_TEMP_DIR``, which must be set before the call.

    Returns
    -------
    gr.Blocks
        Not yet mounted.
    gr.I18n
        The texts; mount the page with them.
    """
    page = Page(service, settings, upload_directory)
    return page.build(), page.i18n
