"""Links and paths in the documentation lead somewhere, and the index names every page."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ccmusic.serving.service import Service
from faults.catalogue import CATALOGUE

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CURRENT_PAGES = [page for page in PAGES if page.name != "CHANGELOG.md"]  # the changelog names what has been removed

LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:src/ccmusic|docs|tests|bench|deploy|examples)/[\w./-]*)`")


def links(text: str) -> list[str]:
    """Targets of the links that stay in the repository."""
    return [target for target in LINK.findall(text) if not re.match(r"\w+:", target)]


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """Links to a missing file or heading."""
    broken = []
    for target in links(text):
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (heading and heading not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


def missing_paths(text: str) -> list[str]:
    """Paths from the root of the repository that do not exist."""
    return [path for path in PATH.findall(text) if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", CURRENT_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_named_path_exists(page: Path) -> None:
    assert missing_paths(page.read_text(encoding="utf-8")) == []


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= set(links(index))


def test_both_readmes_have_the_same_sections_and_links() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
    assert english.count("\n## ") == chinese.count("\n## ")
    own = {"README.md", "README.zh-CN.md", "docs/images/page-en.png", "docs/images/page-zh.png"}
    assert set(links(english)) - own == set(links(chinese)) - own


def test_chinese_text_has_full_width_punctuation() -> None:
    text = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
    assert re.findall(r"[\u4e00-\u9fff][,;:!?].?|[,;:!?][\u4e00-\u9fff]", text) == []


def test_every_check_and_every_drill_has_its_promise(make_settings, tmp_path) -> None:
    """A check that watches nothing that was promised, or a drill that breaks no promise, is missing on the page."""
    settings = make_settings(page=True, model_repository=tmp_path, management_port=0)
    service = Service(settings)
    checks = {watch.check.name for watch in service.health._watches} | {"gpu_memory", "management_port"}
    added_to_a_snapshot = {"sampling", "draining"}
    text = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    named = {
        name
        for cell in re.findall(r"\bchecks? (`\w+`(?:(?:,| and) `\w+`)*)", text)
        for name in re.findall(r"\w+", cell)
    }
    assert named - {"and"} == checks | added_to_a_snapshot

    first_and_last = [(a[0], int(a[1:]), int(b[1:])) for a, b in re.findall(r"\b([A-Z]\d+) to ([A-Z]\d+)\b", text)]
    drills = set(re.findall(r"\b[A-Z]\d+[a-z]?\b", text)) | {
        f"{letter}{number}" for letter, first, last in first_and_last for number in range(first, last + 1)
    }
    assert drills == set(CATALOGUE)


def test_every_test_of_the_threat_model_exists() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::([\w*]+)`", text)
    assert len(named) > 50
    for path, test in named:
        assert (ROOT / path).is_file(), path
        assert test == "*" or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path} has no {test}"
    for row in re.findall(r"^\| (?!threat|asset|actor|-).*\|$", text.partition("## Strangers")[2], re.MULTILINE):
        assert "::" in row or row.startswith("|---"), f"no test: {row}"


def test_make_shows_six_words() -> None:
    command = ["make", "--no-print-directory", "help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = {line.split()[0] for line in shown.splitlines()}
    assert words == {"run", "test", "check", "format", "clean", "help"}


def test_broken_links_and_paths_are_found() -> None:
    page = ROOT / "README.md"
    text = (
        "# Good heading\n[a](#good-heading) [b](docs/README.md#documentation) [c](docs/none.md) [d](#none) `docs/none/`"
    )
    assert broken_links(page, text.replace("(#good-heading)", "(README.md)")) == ["docs/none.md", "#none"]
    assert missing_paths(text) == ["docs/none/"]
    assert links("[a](https://example.org) [b](mailto:a@b) [c](c.md)") == ["c.md"]
    assert anchors("## `GET /health`: is it?") == {"get-health-is-it"}
