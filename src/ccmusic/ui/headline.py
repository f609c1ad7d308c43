"""The headline of an answer: the finest genre or group that the model is certain of, in large letters, or none."""

from __future__ import annotations

from html import escape

from ccmusic.inference.result import TrackResult
from ccmusic.ui.texts import Language, text


def certain_level(result: TrackResult) -> int | None:
    """The finest level of the taxonomy that the answer is certain of; None if it is certain of no level.

    Where the model has no thresholds for each level, the flag ``uncertain`` decides for the finest.
    """
    if result.sure_level is not None:
        return result.sure_level or None
    return None if "uncertain" in result.flags else result.taxonomy.level()


def headline_html(result: TrackResult, language: Language) -> str:
    """Draw the headline. What the model is not certain of is never in it.

    Parameters
    ----------
    result : TrackResult
    language : str
        ``en`` or ``zh``.

    Returns
    -------
    str
        HTML.
    """
    level = certain_level(result)
    if level is None:
        kind = "silence" if "silence" in result.flags else "uncertain" if result.odd is None else "odd"
        return _card(text(f"headline.{kind}", language), text("headline.guesses", language), certain=False)
    group = result.predictions(level, 1)[0]
    name = group.label_zh if language == "zh" else group.label_en
    key = "headline.genre" if level == result.taxonomy.level() else "headline.group"
    return _card(name, text(key, language, probability=f"{group.probability:.0%}", n=level), certain=True)


def _card(headline: str, detail: str, *, certain: bool) -> str:
    kind = "certain" if certain else "uncertain"
    return (
        f'<section class="cc-card cc-headline cc-{kind}"><h2>{escape(headline)}</h2><p>{escape(detail)}</p></section>'
    )
