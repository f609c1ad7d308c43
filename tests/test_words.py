"""Plain words: the table lists expressions that stop a reader, and what to write instead (docs/glossary.md)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENDINGS = (".py", ".md", ".yml", ".yaml", ".toml", ".service")
MAY_QUOTE = {"CHANGELOG.md", "CONTRIBUTING.md", "docs/glossary.md", "docs/fault-matrix.md", "tests/test_words.py"}
"""They name old words, or quote messages of the commit at which they were measured."""

AVOID = {
    r"the (one |same |whole |original |other )?road\b|\broads?\b(?= (that|of|from|to))": "the pipeline",
    r"\b(every|which|whichever|each|its|other|two|both|these) faces?\b": "interface",
    r"\b(is|are|was|be) gone on (with|from)\b|\bgoes on (from|where)\b|\bgo on (from|where)\b": "continues, resumes",
    r"\b(leave|leaves|left|leaving) (it|them|that|the \w+) away\b": "omit",
    r"\banew\b": "again, new",
    r"\bhere and not (above|below|there)\b": "imported late, because ...",
    r"\bwhose genres\b": "which taxonomy",
    r"\bwords are off\b": "bad arguments",
    r"\bvouch(e[sdr]|ers?|ing)?\b|\bunvouched\b": "canary check",
    r"\bmourn\w*": "record the exit",
    r"\bcondemn\w*": "mark failed",
    r"\berrands?\b": "command to a worker",
    r"\babsolve\w*": "clear",
    r"\bbefall\w*|\bbefell\b": "happens to",
    r"\bwho(so)?ever\b": "the caller, who",
    r"\bso may we\b|\bmay we\b": "say it directly",
    r"\b(is|are|was|were) asked (for|of)\b": "is requested",
    r"\bfor want of\b": "because ... is missing",
    r"\bis no more\b|\bare no more\b": "has ended",
    r"\bbr(ing|ings|ought|inging) about\b": "cause, inject",
    r"\bof late\b": "recently",
    r"\bat hand\b": "available",
    r"\b(hangs?|hung|hanging) up\b": "disconnects",
    r"\bletting go of\b|\blets? go of\b": "releases",
    r"\bto be had\b|\bcan be had\b": "available",
    r"\bheart (has|had|that|is|stood)\b": "heartbeat",
    r"\bkeepers?\b": "worker slot",
    r"\bledgers?\b": "restart log",
    r"\boddit(y|ies)\b": "non-music",
    r"\b(thereof|wherein|hearken|must needs|thus far|nay|forthwith|lest)\b": "plain words",
    r"\bnobody (listens|looks|waits|asks|reads|cares|knows)\b": "name the actor",
    r"\bshall\b": "must, should",
    r"\bcame about\b|\bcomes about\b": "happened",
    r"\bsee to (the|it|that|its|your|CCMUSIC)\b": "check, fix",
    r"\b(lie|lies|lay|lain) (ready|on disk|beside|there|in the|at hand|on a hub|behind)\b": "is in, is at",
    r"\btold apart\b|\btell apart\b|\btells apart\b": "distinguished",
}


def _pattern(words: str) -> str:
    # in names of the code, underscores stand between the words
    between = r"(?:(?<![a-z])(?=[a-z])|(?<=[a-z])(?![a-z]))"
    return words.replace(r"\b", between).replace(" ", "[ _]").lower()


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Every tracked text, in lower case."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.split("\0") if name.endswith(ENDINGS) and name not in MAY_QUOTE]
    return {name: (ROOT / name).read_text(encoding="utf-8").lower() for name in names if (ROOT / name).is_file()}


def test_words_to_avoid_are_not_used(texts: dict[str, str]) -> None:
    # Looked for only where a word begins, and each alternative begins with a letter: a hundredth of the time.
    begun = [_pattern(re.sub(r"(^|\|)\\b", r"\1", words)) for words in AVOID]
    anything = re.compile("(?<![a-z])(?=[a-z])(?:" + "|".join(begun) + ")")
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}: write {_instead(match.group())}"
        for name, text in texts.items()
        for match in anything.finditer(text)
    ]
    assert not found, "\n".join(found)


def _instead(found: str) -> str:
    return next(instead for words, instead in AVOID.items() if re.match(_pattern(words), found))


@pytest.mark.parametrize("text", ["_keeper = 1", "test_what_is_asked_for", "Whoever", "they are asked of"])
def test_words_are_found_in_names_and_sentences(text: str) -> None:
    assert any(re.search(_pattern(words), text.lower()) for words in AVOID)
