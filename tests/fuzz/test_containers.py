"""Containers are read into parts and written again, and changes leave the sizes around them right."""

from __future__ import annotations

import random

import pytest

from ccmusic.audio.decode import decode
from fuzz.changes import CHANGES, Nothing, repeat
from fuzz.mutant import CONTAINERS, MOST_WRITTEN, make, mutant, plan, seed_bytes, seed_trees
from fuzz.part import Part
from fuzz.seeds import SEEDS

EVERY_SEED = [(container.name, seed) for container, seeds in SEEDS.items() for seed in seeds]


def tree(container: str, seed: str) -> Part:
    return seed_trees(CONTAINERS[container])[seed].copy()


@pytest.mark.parametrize(("container", "seed"), EVERY_SEED)
def test_a_seed_is_read_whole_and_written_the_same(container, seed):
    content, root = seed_bytes(container, seed), tree(container, seed)
    assert len(list(root.walk())) > 2
    written = CONTAINERS[container].write(root.parts)
    assert CONTAINERS[container].read(written) == root.parts
    if container != "matroska":  # sizes of elements have several forms
        assert written == content


@pytest.mark.parametrize(("container", "seed"), [each for each in EVERY_SEED if each != ("matroska", "encoding")])
def test_a_seed_is_decoded(container, seed):
    """But the blocks of `encoding` are said to be packed, and are not."""
    assert decode(seed_bytes(container, seed)).duration_seconds > 0


@pytest.mark.parametrize(("container", "seed"), EVERY_SEED)
def test_repeated_parts_are_read_again(container, seed):
    """The sizes, counts and checksums around them are right."""
    for choice in range(20):
        root = tree(container, seed)
        repeat(root, random.Random(choice), CONTAINERS[container], [])
        for _, part in root.walk():
            part.numbering = None
            part.times = min(part.times, 40)
        written = CONTAINERS[container].write(root.parts)
        parts = CONTAINERS[container].read(written)
        assert CONTAINERS[container].write(parts) == written
        (repeated,) = (part for _, part in root.walk() if part.times > 1)
        if repeated.kind in (b"rest", b"cut") or repeated.declared is not None or repeated.body.startswith(b"fLaC"):
            continue  # nothing says where these end
        found = [part for _, part in Part(b"", parts=parts).walk() if part.kind == repeated.kind]
        assert len(found) >= repeated.times


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_change_leaves_the_seeds_as_they_are(container, change):
    trees = list(seed_trees(CONTAINERS[container]).values())
    before = [root.copy() for root in trees]
    for choice in range(20):
        root = trees[choice % len(trees)].copy()
        try:
            CHANGES[change][0](root, random.Random(choice), CONTAINERS[container], trees)
        except Nothing:
            continue
    assert trees == before


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_number_gives_the_same_bytes_again(container):
    for number in range(30):
        first = mutant(container, number)
        assert mutant(container, number) == first
        assert len(first.content) <= MOST_WRITTEN
    assert len({mutant(container, number).content for number in range(30)}) > 20


def test_a_change_that_is_dropped_leaves_the_others():
    """So that a finding can be made smaller."""
    for number in range(100):
        whole = plan("mp4", number)
        if len(whole.changes) > 1 and whole.raw is None and whole.grown is None:
            shorter = type(whole)(whole.container, whole.seed, whole.changes[:1])
            assert make(shorter).done == make(whole).done[: len(make(shorter).done)]
