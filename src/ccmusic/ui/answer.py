"""What happens when a button of the page is pressed, without Gradio: a clip in, the HTML of the answer out."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ccmusic.errors import CcmusicError, ModelNotReady
from ccmusic.inference.occlusion import ExplainPlan
from ccmusic.inference.result import TrackResult
from ccmusic.monitoring.page_state import PageState
from ccmusic.monitoring.service_snapshot import ServiceSnapshot
from ccmusic.ui import cards, plots
from ccmusic.ui.explanation import explanation_html
from ccmusic.ui.headline import certain_level, headline_html
from ccmusic.ui.texts import Language, error_text, text

logger = logging.getLogger(__name__)

TOP_CLASSES = 5

_MODEL_NOTICES: dict[str, tuple[cards.Kind, str]] = {
    "loading": ("warning", "notice.loading"),
    "preparing": ("warning", "notice.preparing"),
    "other_model": ("warning", "notice.caveat"),
    "file_missing": ("error", "error.ModelFileNotFound"),
    "load_failed": ("error", "error.ModelLoadFailed"),
    "dependency_missing": ("error", "error.ModelLoadFailed"),
}
"""Kind and text of the notice about the model, by the code of its health check."""


class PageService(Protocol):
    """The part of `ccmusic.serving.service.Service` that the page uses."""

    async def classify(
        self,
        source: Path,
        *,
        windows: str | int,
        spectrogram: bool,
        explain: ExplainPlan | None = None,
        client: str | None = None,
    ) -> TrackResult: ...

    def snapshot(self) -> ServiceSnapshot: ...

    def report_page(self, state: PageState) -> None: ...


@dataclass(frozen=True, slots=True)
class Question:
    """What the page asks of the service.

    Attributes
    ----------
    clip : str or None
        Path of the uploaded recording.
    windows : str
        ``whole`` or ``first30``.
    taxonomy : str or None
        Name of the taxonomy; None for the first of the model.
    """

    clip: str | None
    windows: str = "whole"
    taxonomy: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the page shows for a clip.

    Attributes
    ----------
    notice : str
        HTML: the flags of an answer, or the reason why there is none.
    level : int or None
        The level of the headline; None if there is no answer, or none that is certain.
    headline : str
        HTML; empty if there is no answer.
    confidences_title : str
    confidences : dict of str to float, or None
        Probability by genre name; None if there is no answer.
    levels, model, track, genres : str
        HTML; empty if there is no answer.
    """

    notice: str
    level: int | None = None
    headline: str = ""
    confidences_title: str = ""
    confidences: dict[str, float] | None = None
    levels: str = ""
    model: str = ""
    track: str = ""
    genres: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows at present: the question, and the level of the headline, see `Answer.level`.

    `question` is None while the page shows no answer, notice or explanation.
    """

    question: Question | None = None
    level: int | None = None


NOTHING = Shown()
"""A page without an answer."""


def confidences(result: TrackResult, language: Language) -> dict[str, float]:
    """Probabilities of the likeliest genres, by name, for ``gr.Label``."""
    return {plots.genre_name(p, language): p.probability for p in result.predictions(None, TOP_CLASSES)}


async def answer_clip(service: PageService, question: Question, language: Language, client: str = "") -> Answer:
    """Classify a clip and draw the answer. Every failure becomes a notice that states what to do next.

    Parameters
    ----------
    service : PageService
    question : Question
    language : str
        ``en`` or ``zh``.
    client : str
        Who sent the recording.

    Returns
    -------
    Answer
    """
    if (reason := _no_clip_html(question, language)) is not None:
        return Answer(reason)
    try:
        result = await service.classify(
            Path(question.clip or ""), windows=question.windows, spectrogram=True, client=client
        )
        # In a thread: drawing takes tens of milliseconds, and would block health probes on this loop.
        return await asyncio.to_thread(_draw, result.under(question.taxonomy), language)
    except Exception as error:  # the page shows a text, never a stack trace
        return Answer(failure_html(error, service, language))


async def explain_clip(
    service: PageService,
    question: Question,
    level: int | None,
    number: float | None,
    language: Language,
    client: str = "",
) -> str:
    """Explain why a window of a clip got its genre.

    Parameters
    ----------
    service : PageService
    question : Question
    level : int or None
        Level of the taxonomy whose genre is explained; None for the finest.
    number : float or None
        Number of the window, from 1; None or 0 for the window with the highest probability of the genre.
    language : str
        ``en`` or ``zh``.
    client : str
        Who sent the recording.

    Returns
    -------
    str
        HTML: a picture, or a notice that states what to do next.
    """
    if (reason := _no_clip_html(question, language)) is not None:
        return reason
    plan = ExplainPlan(window=round(number) - 1 if number else None, taxonomy=question.taxonomy, level=level)
    try:
        result = await service.classify(
            Path(question.clip or ""), windows=question.windows, spectrogram=False, explain=plan, client=client
        )
        return await asyncio.to_thread(explanation_html, result.explanations[0], language)
    except Exception as error:  # the page shows a text, never a stack trace
        return failure_html(error, service, language)


def _no_clip_html(question: Question, language: Language) -> str | None:
    """A notice if there is no clip to answer for; otherwise None."""
    if question.clip is None:
        return cards.notice_html("info", text("notice.no_clip", language))
    if not Path(question.clip).is_file():
        return cards.notice_html("info", text("notice.gone", language))
    return None


def _draw(result: TrackResult, language: Language) -> Answer:
    level = certain_level(result)
    return Answer(
        notice=cards.flags_html(result, language),
        level=level,
        headline=headline_html(result, language),
        confidences_title=text("genre" if level == result.taxonomy.level() else "guesses", language),
        confidences=confidences(result, language),
        levels=plots.levels_html(result, language),
        model=cards.model_html(result, language),
        track=plots.track_html(result, language),
        genres=plots.genres_html(result, language),
    )


def failure_html(error: Exception, service: PageService, language: Language) -> str:
    """A notice about a failure. An unexpected error is logged; its text is not shown."""
    if not isinstance(error, CcmusicError):
        logger.error("the page could not answer", exc_info=error)
        return cards.notice_html("error", error_text(error, language))
    if isinstance(error, ModelNotReady):
        kind, key = _MODEL_NOTICES.get(_model_code(service.snapshot()), ("warning", ""))
        if kind == "error":
            return cards.notice_html(kind, text(key, language), str(error), language)
        return cards.notice_html("warning", error_text(error, language))
    return cards.notice_html("error", error_text(error, language), str(error), language)


def readiness_html(snapshot: ServiceSnapshot, language: Language) -> str:
    """The notice at the top of the page; empty if the chosen model is ready."""
    code = _model_code(snapshot)
    if code not in _MODEL_NOTICES:
        return ""
    kind, key = _MODEL_NOTICES[code]
    state = snapshot.supervisor
    details = {"loading": None, "preparing": state.preparing, "other_model": state.caveat}
    return cards.notice_html(kind, text(key, language), details.get(code, snapshot.message) or "", language)


def _model_code(snapshot: ServiceSnapshot) -> str:
    """The code of the health check that states why the chosen model does not answer; ``ok`` if it does."""
    if snapshot.model_status == "ready":  # a model that is loaded answers, even if its file is missing now
        return "ok" if snapshot.supervisor.caveat is None else "other_model"
    codes = [check.code for check in snapshot.checks if check.name in ("model_file", "model")]
    default = "load_failed" if snapshot.model_status == "error" else "loading"
    return next((code for code in codes if code in _MODEL_NOTICES), default)
