"""A campaign counts what became of each recording, whatever ends a process, and resumes where an earlier one ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.campaign import BOUND, STOPPED, Campaign, verdict
from fuzz.execute import Outcome
from fuzz.report import Found, known_table

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
    ],
)
def test_what_is_a_finding(outcome, why):
    assert verdict(outcome) == why


class Ended:
    """A process that has ended."""

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
    assert later._next() == running


def test_counts_of_another_decoder_are_not_added_to(tmp_path):
    Campaign(tmp_path, ["riff"]).save()
    state = tmp_path / "state.json"
    state.write_text(state.read_text().replace('"code": "', '"code": "x'))
    with pytest.raises(SystemExit, match="another decoder"):
        Campaign(tmp_path, ["riff"])
    assert Campaign(tmp_path, ["riff"], other_code=True).code.startswith("x")


def test_a_process_reports_what_was_decoded_before_it_died():
    script = """if True:
        import os, signal
        from fuzz.execute import Process

        def body(out):
            os.write(out, b"0 0\\n1.5 20 3 decoded\\n0 0\\n")
            os.kill(os.getpid(), signal.SIGSEGV)

        for outcome in Process(body).outcomes():
            print(outcome.answer)
    """
    path = os.pathsep.join(filter(None, (str(BENCH.parents[1] / "tests"), os.environ.get("PYTHONPATH"))))
    shown = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines() == ["decoded", "ended by SIGSEGV"]


def test_a_small_campaign_is_run_and_resumed(tmp_path):
    for executions in (1, 201):
        command = [sys.executable, BENCH, "--executions", str(executions), "--jobs", "1", "--only", "riff"]
        ended = subprocess.run([*command, "--folder", tmp_path], capture_output=True, text=True, check=False)
        assert ended.returncode in (0, 1), ended.stderr  # 1: with findings
    state = json.loads((tmp_path / "state.json").read_text())
    assert sum(state["counts"]["riff"]["answers"].values()) == state["counts"]["riff"]["next"] == 400
    assert "| riff | 400 |" in ended.stdout


def test_a_known_class_is_found_by_a_recording_with_one_change(tmp_path):
    def keep(*needs: str) -> None:
        row = Found("mp4", 7, "memory", "decoded", 0.1, 900.0, 2000, needs)._asdict() | {"bytes": 2000}
        (tmp_path / "minimised.jsonl").write_text(json.dumps(row) + "\n")

    counts = Campaign(tmp_path, ["mp4"]).counts
    keep("set stsz at 4", "delete trak")
    assert not any("set stsz" in line for line in known_table(tmp_path, counts))
    keep("set stsz at 4")
    assert any("samples" in line and "7: set stsz at 4" in line for line in known_table(tmp_path, counts))
