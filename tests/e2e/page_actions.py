"""What a visitor does on the page, and what is then shown."""

from __future__ import annotations

import re

from support.recordings import bin_frequency, tone, wav

# The bands model answers genre i for a tone in band i.
SYMPHONY, OPERA = (
    {"name": "clip.wav", "mimeType": "audio/wav", "buffer": wav(tone(bin_frequency(index), 5.0))} for index in (2, 7)
)


def choose(page, clip) -> None:
    """Upload a clip, after removing the previous one, and wait until the player has it."""
    if page.locator("#audio audio.standard-player").count():
        clear(page)
    page.locator("#audio input[type=file]").set_input_files(clip)
    page.locator("#audio audio.standard-player").wait_for(state="attached")


def clear(page) -> None:
    """Remove the clip."""
    page.locator("#audio .icon-button").first.click()


def classify(page, clip) -> None:
    """Upload a clip, press the button and wait for the answer."""
    choose(page, clip)
    page.locator("#run").click()
    wait_for_answer(page)


def wait_for_answer(page) -> None:
    """Wait for all parts of an answer: they arrive together, but are drawn one by one."""
    page.locator("#track img").wait_for()
    page.locator("#headline h2").wait_for()
    page.locator("#label .confidence-set").last.wait_for()
    page.locator("#genres li").last.wait_for()


def confidences(page) -> list[tuple[str, int]]:
    """The genres and percentages that the label shows."""
    rows = page.locator("#label .confidence-set").all_inner_texts()
    return [(row.split("\n")[0].strip(), int(re.search(r"(\d+)\s*%", row)[1])) for row in rows]


def choose_taxonomy(page, name: str) -> None:
    """Choose a taxonomy by its text."""
    page.locator("#taxonomy").get_by_label(name).check()


def explain(page, title: str) -> str:
    """Open "Why?" unless it is open, press its button, and return the line of text."""
    if not page.locator("#explain-run").is_visible():
        page.get_by_role("button", name=title).click()
    page.locator("#explain-run").click()
    page.locator("#explanation img").wait_for()
    return page.locator("#explanation h3").inner_text()
