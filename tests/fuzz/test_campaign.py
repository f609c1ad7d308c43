"""A campaign counts what became of each recording, whatever ends a process, and resumes where an earlier one ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.campaign import BOUND, STOPPED, Campaign, verdict
from fuzz.execute import Outcome, Watched
from fuzz.forking import in_a_process

BENCH = Path(__file__).parents[2] / "bench" / "fuzzing.py"


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (Outcome("decoded", 0.01, 1.0, 0.1), ""),
        (Outcome("undecodable_audio", 0.9, 190.0), ""),
        (Outcome(BOUND, 0.8, 1.0), ""),
        (Outcome("decoded", 5.0, 900.0, 3000.0), ""),
        (Outcome("undecodable_audio", 1.1, 1.0), "time"),
        (Outcome(BOUND, 1.5, 1.0), "time"),
        (Outcome(STOPPED, 10.5, 1.0), "time"),
        (Outcome("decoded", 0.1, 201.0), "memory"),
        (Outcome("untyped TypeError", 0.1, 1.0), "untyped TypeError"),
        (Outcome("ended by SIGSEGV", 0.1, 1.0), "ended by SIGSEGV"),
        (Outcome("decoded", 0.1, 280.0, size=90 * 2**20), ""),
        (Outcome("audio-too-long", 4.4, 120.0, 911.0), ""),
        (Outcome("decoded", 0.1, 1.0, 0.1, "g723_1"), "codec g723_1"),
    ],
)
def test_what_is_a_finding(outcome, why):
    assert verdict(outcome) == why


class Ended:
    """A process that has ended."""

    processor_seconds = 0.5

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = lambda: list(outcomes)


GOOD = Outcome("decoded", 0.01, 1.0, 0.1)


def test_a_death_is_counted_and_kept_and_the_others_of_its_process_are_tried_again(tmp_path):
    campaign = Campaign(tmp_path, ["riff"])
    _, first, last = campaign._next()
    assert campaign._take(Ended(GOOD, Outcome("ended by SIGSEGV", 0.1, 5.0)), "riff", first, last, stopped=False) == 2
    assert campaign.counts["riff"].deaths == 1
    assert campaign._next() == ("riff", 2, last)
    (row,) = map(json.loads, (tmp_path / "findings.jsonl").read_text().splitlines())
    assert (row["container"], row["number"], row["why"]) == ("riff", 1, "ended by SIGSEGV")


def test_a_recording_that_the_end_of_the_campaign_cuts_off_is_no_death(tmp_path):
    campaign = Campaign(tmp_path, ["riff"])
    _, first, last = campaign._next()
    campaign._take(Ended(GOOD, Outcome("ended by SIGKILL", 0.1, 5.0)), "riff", first, last, stopped=True)
    assert campaign.counts["riff"].deaths == 0
    assert campaign._next() == ("riff", 1, last)


def test_a_later_campaign_resumes_also_after_sigkill(tmp_path):
    campaign = Campaign(tmp_path, ["riff", "mp4"])
    name, first, last = campaign._next()
    campaign._take(Ended(GOOD, GOOD), name, first, last, stopped=True)
    running = campaign._next()
    campaign.save([running])  # then it is killed
    later = Campaign(tmp_path, ["riff", "mp4"])
    assert later.executions == 2
    assert later.processor_seconds == 0.5
    assert later._next() == running


def test_a_campaign_goes_on_with_another_decoder_and_says_how_many_each_decoded(tmp_path, monkeypatch):
    for decoders in ("a", "b"):
        monkeypatch.setattr("fuzz.campaign.decoders_hash", lambda decoders=decoders: decoders)
        campaign = Campaign(tmp_path, ["riff"])
        campaign._take(Ended(GOOD, GOOD), *campaign._next(), stopped=False)
        campaign.save()
    assert campaign.executions == 4
    assert campaign.by_decoders == {"a": 2, "b": 2}


def test_counts_of_other_recordings_are_not_added_to(tmp_path, monkeypatch):
    Campaign(tmp_path, ["riff"]).save()
    monkeypatch.setattr("fuzz.campaign.makers_hash", lambda: "other")
    with pytest.raises(SystemExit, match="other recordings"):
        Campaign(tmp_path, ["riff"])


def test_a_process_reports_what_was_decoded_before_it_died():
    script = """if True:
        import os, signal
        from fuzz.execute import Process

        def body(out):
            os.write(out, b"began 0 0 77\\nended 1.5 20 3 mp3float decoded\\n")
            os.write(out, b"began 0 0 88\\nmusic 900\\nended 4 20 0 - audio-too-long\\n")
            os.write(out, b"began 0 0 99\\nmusic 5\\nmusic 10\\n")
            os.kill(os.getpid(), signal.SIGSEGV)

        for outcome in Process(body).outcomes():
            print(outcome.answer, outcome.music_seconds, outcome.codec, outcome.size)
    """
    assert in_a_process(script) == [
        "decoded 3.0 mp3float 77",
        "audio-too-long 900.0  88",
        "ended by SIGSEGV 10.0  99",
    ]


def test_a_process_that_gets_no_processor_is_not_taken_for_one_that_waits():
    script = """if True:
        import os
        from fuzz.execute import Process
        from support.waiting import wait_until

        busy = Process(lambda out: [None for _ in iter(int, 1)])
        idle = Process(lambda out: os.read(os.pipe()[0], 1))
        wait_until(lambda: idle.waits, "the process to wait")
        print(busy.waits)
        for process in (busy, idle):
            process.end()
            print(process.outcomes())
    """
    assert in_a_process(script) == ["False", "[]", "[]"]


def test_the_music_of_a_refused_recording_is_noted():
    class Bounds:
        holds_memory = True

        def allow(self, music_seconds: float, processor_seconds: float) -> None:
            self.given = (music_seconds, processor_seconds)

    bounds, noted = Bounds(), []
    watched = Watched(bounds, noted.append)
    watched.allow(5.0, 0.7)
    assert (bounds.given, noted, watched.holds_memory) == ((5.0, 0.7), [5.0], True)


def test_a_small_campaign_is_run_and_resumed(tmp_path):
    for executions in (1, 201):
        command = [sys.executable, BENCH, "--executions", str(executions), "--jobs", "1", "--only", "riff"]
        ended = subprocess.run([*command, "--folder", tmp_path], capture_output=True, text=True, check=False)
        assert ended.returncode in (0, 1), ended.stderr  # 1: with findings
    count = json.loads((tmp_path / "state.json").read_text())["counts"]["riff"]
    executions = sum(count["answers"].values())
    assert executions >= 201
    assert executions + sum(last - first for first, last in count["left"]) == count["next"]
    assert f"| riff | {executions} |" in ended.stdout
