"""Take the screenshots of the page for the documentation, from a running server.

::

    PYTHONPATH=tests python tests/e2e/screenshot.py http://127.0.0.1:7860 clip.ogg

writes docs/images/page-en.png and page-zh.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

from conftest import CHROMIUM, FLAGS

IMAGES = Path(__file__).parents[2] / "docs" / "images"
LOCALES = {"en": "en-US", "zh": "zh-CN"}
SIZE = {"width": 1200, "height": 900}
PHONE = {"width": 390, "height": 844}


def main() -> None:
    """Classify the clip in each language and save a screenshot of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="URL of the running server")
    parser.add_argument("clip", type=Path, help="a recording")
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--phone", action="store_true", help="as on a phone: page-en-phone.png, page-zh-phone.png")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for language, locale in LOCALES.items():
            context = browser.new_context(locale=locale, viewport=PHONE if arguments.phone else SIZE)
            page = context.new_page()
            page.goto(arguments.url)
            page.locator("#readiness .cc-notice").wait_for(state="detached")
            page.locator("#audio input[type=file]").set_input_files(arguments.clip)
            page.locator("#audio audio.standard-player").wait_for(state="attached")
            page.locator("#run").click()
            page.locator("#track img").wait_for()
            page.locator("#label .confidence-set").nth(4).wait_for()
            page.locator("#audio wave, #audio #waveform").first.wait_for()
            page.mouse.move(0, 0)
            name = f"page-{language}{'-phone' if arguments.phone else ''}.png"
            page.screenshot(path=arguments.out / name, full_page=True)
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
