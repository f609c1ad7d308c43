"""Every kind of part grows in its turn, and tables that grow declare what they hold."""

from __future__ import annotations

import io
import random
import struct

import av
import numpy as np
import pytest

from fuzz.campaign import _shorter
from fuzz.changes import fill_table, recode
from fuzz.forking import in_a_process
from fuzz.growth import _claim, grow
from fuzz.mutant import CONTAINERS, GROWTH_EVERY, change, kinds, make, plan, seed_trees
from fuzz.part import Part
from fuzz.pictures import ROOM, enlarged, png


@pytest.mark.parametrize("container", CONTAINERS)
def test_each_kind_grows_in_its_turn(container):
    found = list(kinds(CONTAINERS[container]))
    turns = [plan(container, number * GROWTH_EVERY).grown for number in range(len(found))]
    assert [kind for kind, _ in turns] == found
    assert plan(container, 1).grown is None


@pytest.mark.parametrize("container", CONTAINERS)
def test_growth_leaves_the_seeds_as_they_are_and_is_the_same_again(container):
    trees = seed_trees(CONTAINERS[container])
    before = {seed: root.copy() for seed, root in trees.items()}
    for kind, seeds in kinds(CONTAINERS[container]).items():
        first, second = (trees[seeds[0]].copy() for _ in range(2))
        done = grow(first, kind, random.Random(kind.hex()), CONTAINERS[container])
        assert grow(second, kind, random.Random(kind.hex()), CONTAINERS[container]) == done
        assert first == second != before[seeds[0]]
    assert trees == before


def find(root: Part, kind: bytes) -> tuple[Part, Part]:
    return next(pair for pair in root.walk() if pair[1].kind == kind)


def test_a_table_declares_the_entries_that_it_holds():
    container = CONTAINERS["mp4"]
    _, table = find(seed_trees(container)["aac"].copy(), b"stts")
    declared = set()
    for choice in range(20):
        fill_table(table, random.Random(choice), container, 8, 8, 1000)
        assert len(table.body) == 8 + 8 * 1000
        declared.add(struct.unpack_from(">I", table.body, 4)[0] == 1000)
    assert declared == {True, False}


def test_samples_are_claimed_in_all_tables_of_a_track():
    container = CONTAINERS["mp4"]
    for choice in range(20):
        root = seed_trees(container)["pcm"].copy()
        holder, part = find(root, b"stsz")
        done = _claim(root, holder, part, random.Random(choice), container)
        claimed = int(done.split("x")[1].split()[0])
        assert struct.unpack_from(">II", part.body, 4) == (1, claimed)
        _, times = find(root, b"stts")
        _, payload = find(root, b"mdat")
        if struct.unpack_from(">II", times.body, 4) == (1, claimed) and done.endswith("bytes"):
            assert len(payload.body) > claimed
            return
    pytest.fail("no claim in all tables")


def test_a_picture_is_decoded_and_takes_the_same_bytes():
    content, done = enlarged(b"before" + png(16, 16) + b"behind", random.Random(1))
    assert len(content) == ROOM + 12
    assert done == "picture of 256 x 16000"
    with av.open(io.BytesIO(content[6:-6])) as media:
        (frame,) = media.decode(video=0)
    assert (frame.width, frame.height, frame.format.name) == (256, 16_000, "pal8")
    assert not np.any(frame.to_ndarray(format="gray"))


def test_a_codec_is_named_in_a_wav_file():
    root = seed_trees(CONTAINERS["riff"])["WAV-PCM_16"].copy()
    _, part = find(root, b"fmt ")
    before = part.body
    done = recode(root, random.Random(1), CONTAINERS["riff"], [])
    assert part.body[2:] == before[2:]
    assert done == f"codec {part.body[:2].hex()} in fmt"


def test_a_growth_that_a_finding_does_not_need_is_dropped():
    number = next(n for n in range(0, 4000, GROWTH_EVERY) if len(plan("riff", n).changes) == 2)
    whole = plan("riff", number)
    shorter = list(_shorter(whole))
    assert [(made.grown is None, len(made.changes)) for made in shorter] == [
        (False, 0),
        (True, 2),
        (False, 1),
        (False, 1),
    ]
    assert all(len(make(made).done) <= len(change(whole)[1]) for made in shorter)


def test_a_search_decodes_recordings_of_each_class_and_finds_nothing_in_code_with_bounds(tmp_path):
    script = """if True:
        import sys
        from pathlib import Path
        from fuzz import known

        known.KNOWN = {"riff": {"codecs of no music": "codec", "nothing": "no such change"}}
        folder = Path(sys.argv[1])
        codecs, nothing = known.search(1500, ["riff"], folder)
        assert known.read(folder) == [codecs, nothing]
        assert list(known.search(1500, ["mp4"], folder)) == []
        assert known.read(folder) == [codecs, nothing]
        print(len(codecs.decoded) > 0, codecs.done.startswith("codec"), codecs.why == "", nothing.decoded == [])
        print(known.known_table(folder)[2])
    """
    found, line = in_a_process(script, str(tmp_path))
    assert found == "True True True True"
    assert "| not found |" in line
