"""Decode mutated recordings of every container, as workers decode them, and count what becomes of them.

    python bench/fuzzing.py [--minutes 10] [--executions N] [--jobs N] [--folder .fuzz] [--only NAME ...] [--write FILE]
                         [--before FOLDER] [--service N]
    python bench/fuzzing.py --known N --folder FOLDER
    python bench/fuzzing.py --again CONTAINER NUMBER [--save FILE]

Recording N of a container is always the same. Counts are kept in the folder; the next run resumes there, after
Ctrl-C or SIGKILL too, and on another machine or at another commit if the folder is copied and the mutators are the
same. A finding is a process that ended (by anything but the kernel's bound on processor time), an
error without a type, or more processor time or memory than the music needs; then the exit code is 1. `--service` sends
recordings to a really running service as well. `--known` looks for the known classes of costly files: with an earlier
version of the code, whose `src` you put first into PYTHONPATH, they should be found. `--before` shows it in the tables.
"""

# ruff: noqa: E402 - one thread in each library, and modules of the tests on the path, before the imports

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"  # processes are forked
TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "data")]

from tqdm import tqdm

from fuzz.campaign import Campaign, run_alone, verdict
from fuzz.execute import prepare
from fuzz.known import known_table, search
from fuzz.mutant import CONTAINERS, make, plan
from fuzz.report import counts_table, findings_list, minimise

MINIMISE_SECONDS = 60.0
UNTRIED = 10**9
"""The first number of the recordings that go to a service: the others were decoded already."""


def again(container: str, number: int, save: Path | None) -> int:
    """Decode one recording again, and say what it is."""
    made = plan(container, number)
    mutant = make(made)
    if save:
        save.write_bytes(mutant.content)
    prepare()
    outcome = run_alone(made)
    print(f"{container} {number}: seed {made.seed}, {len(mutant.content):,} bytes: {'; '.join(mutant.done)}")
    print(f"{outcome}\n{verdict(outcome) or 'no finding'}")
    return bool(verdict(outcome))


def known(most: int, names: list[str], folder: Path) -> int:
    """Look for the known classes of costly files with this code."""
    prepare()
    folder.mkdir(parents=True, exist_ok=True)
    for each in search(most, names, folder):
        found = f"{each.why} by no. {each.decoded[-1]}" if each.why else "not found"
        print(
            f"{each.container}, {each.title}: {found}; {len(each.decoded)} decoded; {each.done} {each.outcome}",
            flush=True,
        )
    return 0


def through_a_service(total: int) -> tuple[list[str], bool]:
    """Send recordings to a running service; what it answered, and whether it stayed healthy."""
    from load import ask

    from faults.service import Service

    statuses: Counter[int] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as temporary:
        service = Service(Path(temporary))
        try:
            service.wait_green()
            for number in tqdm(range(total), unit="request", disable=None):
                name = list(CONTAINERS)[number % len(CONTAINERS)]
                connection = HTTPConnection(service.address, timeout=120)
                statuses[ask(connection, make(plan(name, UNTRIED + number)).content)[0]] += 1
                connection.close()
            service.wait_green()
            alive = service.process.poll() is None
        finally:
            service.stop()
    answers = ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
    crashes = 0 if alive else 1
    return [f"{total:,} recordings sent to a running service: {answers}. Crashes of the service: {crashes}."], alive


def commit() -> str:
    asked = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def main() -> int:
    """Run a campaign, or one recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--executions", type=int, help="stop when so many were decoded, in this and earlier runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that decode")
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"))
    parser.add_argument("--only", nargs="+", choices=CONTAINERS, default=list(CONTAINERS), metavar="NAME")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables here as well")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="where --known wrote with an earlier version")
    parser.add_argument("--known", type=int, metavar="N", help="look for the known classes in the first N recordings")
    parser.add_argument("--service", type=int, default=0, metavar="N", help="send N recordings to a running service")
    parser.add_argument("--again", nargs=2, metavar=("CONTAINER", "NUMBER"))
    parser.add_argument("--save", type=Path, metavar="FILE", help="with --again: keep the bytes")
    options = parser.parse_args()
    if options.again:
        return again(options.again[0], int(options.again[1]), options.save)

    if options.known:
        return known(options.known, options.only, options.folder)

    campaign = Campaign(options.folder, options.only)
    with tqdm(initial=campaign.executions, total=options.executions, unit="file", disable=None) as bar:
        try:
            campaign.run(options.minutes * 60, options.executions, options.jobs, bar.update)
        except KeyboardInterrupt:
            print("stopped; the counts are kept", file=sys.stderr)
    minimise(options.folder, MINIMISE_SECONDS)
    n_findings = sum(sum(count.findings.values()) for count in campaign.counts.values())
    deaths = sum(count.deaths for count in campaign.counts.values())
    lines = [
        "# Fuzz",
        "",
        f"{campaign.executions:,} mutated recordings were decoded as a worker decodes them: {deaths} deaths, "
        f"{n_findings} findings.",
        "",
        f"Measured by `bench/fuzzing.py` on {datetime.date.today()} at commit {commit()}, in "
        f"{campaign.seconds / 60:.0f} minutes, {campaign.processor_seconds:,.0f} s of processor time. "
        "Boxes, elements, pages, chunks and frames of small computed recordings "
        "are changed: their counts, sizes, order, nesting, kinds and fields; sizes and checksums around them are right."
        " Memory is above that of an idle process.",
        "",
        *counts_table(campaign.counts),
        "",
        "By version of the decoding code: "
        + ", ".join(f"{code}: {count:,}" for code, count in campaign.by_decoders.items()),
    ]
    healthy = True
    if options.service:
        said, healthy = through_a_service(options.service)
        lines += ["", *said]
    if findings := findings_list(options.folder):
        lines += ["", "## Findings", "", *findings]
    if options.before:
        lines += [
            "",
            "## Do the changes find what was known?",
            "",
            "An earlier version of the code, which had no bounds, decoded the first recordings in which one kind of "
            "part grows, until one was a finding. Damage to random bytes had found none of these in 45,000 files.",
            "",
            *known_table(options.before),
        ]
    page = "\n".join(lines) + "\n"
    print(page)
    if options.write:
        options.write.write_text(page, encoding="utf-8")
    return 0 if healthy and not n_findings else 1


if __name__ == "__main__":
    sys.exit(main())
