"""Take the pictures of the report of a library for the documentation, of a library that does not exist.

``PYTHONPATH=tests python tests/e2e/report_screenshot.py`` writes docs/images/report-en.png and report-zh.png.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright
from screenshot import IMAGES, LOCALES, PHONE

from ccmusic.batch.catalogue import Catalogue
from ccmusic.batch.report.page import write_report
from ccmusic.batch.track_row import TrackRow
from ccmusic.genres import CCMUSIC
from ccmusic.inference.acoustic_identity import EMBEDDING_SIZE
from conftest import CHROMIUM, FLAGS
from support.catalogue_rows import answer, answered, failed, write_catalogue

N_TRACKS = 4000
N_VALUES = EMBEDDING_SIZE
SHARES = np.array([7, 2, 6, 5, 9, 7, 5, 6, 8, 6, 2, 5, 9, 6, 7, 5]) / 95
ARTISTS = (
    "Aurora Strings",
    "Paper Boats",
    "李文",
    "Harbour Lights",
    "Nocturne Ensemble",
    "Juniper",
    "王菲菲",
    "Static Bloom",
)
FIRST = ("Morning", "River", "夜曲", "Glass", "Winter", "Signal", "远山", "Harbour", "Paper", "Summer", "Blue")
SECOND = ("Song", "in D minor", "之歌", "Lights", "No. 3", "Letters", "(live)", "Waltz", "Sky")
FAILURES = {
    "undecodable-audio": "The content is broken: no frame of it can be decoded.",
    "unsupported-media": "This is a text, not a recording.",
    "empty-audio": "The file has no samples.",
}
FIRST_ROWS = 6
"""Rows of the review queue that are in the picture."""


def tracks() -> Iterator[TrackRow]:
    """The tracks of the library, with embeddings that are alike within a group."""
    generator = np.random.default_rng(5)
    middles = [
        1.3 * np.random.default_rng(1000 + side).normal(size=N_VALUES)
        + 1.1 * np.random.default_rng(100 + group).normal(size=N_VALUES)
        + 0.6 * np.random.default_rng(3000 + genre).normal(size=N_VALUES)
        for genre, (group, side) in enumerate(zip(*CCMUSIC.parents, strict=True))
    ]
    for number in range(1, N_TRACKS + 1):
        title = f"{generator.choice(FIRST)} {generator.choice(SECOND)}"
        path = f"/music/{generator.choice(ARTISTS)}/{1990 + number % 30}/{number % 14 + 1:02d} {title} {number}.flac"
        if number % 311 == 0:
            kind = str(generator.choice(list(FAILURES)))
            yield failed(number, path, kind, FAILURES[kind])
            continue
        genre = int(generator.choice(len(SHARES), p=SHARES))
        probability = float(np.clip(generator.beta(4, 2.2), 0.12, 0.99))
        odd = str(generator.choice(["speech", "noise", "silence", "tone"])) if number % 97 == 0 else None
        level = next((level for level, least in ((16, 0.62), (9, 0.48), (2, 0.33)) if probability > least), 0)
        found = answer(
            CCMUSIC.labels[genre],
            probability,
            sure_level=0 if odd else level,
            duration_seconds=float(generator.uniform(120, 420)),
            flags=("truncated",) if number % 50 == 0 else (),
            odd=odd,
        )
        vector = middles[genre] * (0.4 + 0.6 * probability) + 0.9 * generator.normal(size=N_VALUES)
        same = 1 if number % 40 == 0 else None
        yield answered(number, path, found, embedding=vector.astype("<f2").tobytes(), same_as=same)


def genres_in(track: TrackRow) -> tuple[str, ...]:
    """What the tags of a track say: nothing, the genre of its answer, or another one."""
    generator = np.random.default_rng(track.id)
    if (chance := generator.random()) < 0.35:
        return ()
    return (str(track.genre) if chance < 0.7 else str(generator.choice(["Rock", "Classical", "Electronica", "Soul"])),)


def main() -> None:
    """Make the report, decide about two tracks, and save a picture in each language."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--phone", action="store_true", help="as on a phone: report-en-phone.png, report-zh-phone.png")
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = Path(folder) / "report.html"
        with (
            Catalogue.open(write_catalogue(Path(folder), tracks()), read_only=True) as catalogue,
            report.open("wb") as out,
        ):
            library = write_report(catalogue, out, genres_in, made_at=datetime(2026, 11, 30, 12, tzinfo=UTC))
        print(json.dumps(library["counts"]))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for language, locale in LOCALES.items():
            # as high as the page: nothing sticks to the edge of a window
            size = PHONE | {"height": 5000} if options.phone else {"width": 1200, "height": 4000}
            context = browser.new_context(
                locale=locale, viewport=size, color_scheme="dark" if options.dark else "light"
            )
            page = context.new_page()
            page.goto(report.as_uri())
            page.locator(".tabs button").nth(1).click()
            for row, button in ((0, 0), (2, 1)):
                page.locator(".row").nth(row).locator("button").nth(button).click()
            box = page.locator(".row").nth(FIRST_ROWS).bounding_box()
            assert box is not None
            page.mouse.move(0, 0)
            name = f"report-{language}{'-dark' if options.dark else ''}{'-phone' if options.phone else ''}.png"
            page.screenshot(path=options.out / name, clip={"x": 0, "y": 0, "width": size["width"], "height": box["y"]})
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
