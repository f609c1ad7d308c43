"""Put the same faults to rival serving frameworks and to our own service, and write down what their health says.

    python bench/health_rivals/run.py [--work DIR] [--only litserve mosec dynamo ccmusic] [--seconds 30] [--write FILE]

Each rival gets a virtual environment in the work folder, with this repository's last commit and what is locked in the
framework's requirements file (written by requirements/lock). Our own service runs in the environment of this
interpreter, from the working tree. What was seen is kept in the work folder, so that one service can be run again and
the page written from all of them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import table
from adapters import ADAPTERS
from observe import Request
from trial import FAULTS, Trial, run

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECORDING = ROOT / "examples" / "acoustic_pop.ogg"


def environment(name: str, work: Path) -> Path:
    """The interpreter under which a service runs; a rival's is made first, once."""
    requirements = HERE / f"{name}.txt"
    if not requirements.exists():
        return Path(sys.executable)
    folder = work / f"venv-{name}"
    python = folder / "bin" / "python"
    installed = folder / "installed.txt"
    if installed.exists() and installed.read_text() == requirements.read_text():
        return python
    source = work / "source"
    if not source.exists():  # a clone, so that neither edits nor build output of the working tree get in
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "-r", str(requirements)], check=True)
    subprocess.run([*pip, str(source)], check=True)
    shutil.copy(requirements, installed)
    return python


def version(name: str) -> str:
    """The required version of another framework; the installed version of ours."""
    wanted = HERE / f"{name}.in"
    if wanted.exists():
        return wanted.read_text().splitlines()[0].partition("==")[2]
    return importlib.metadata.version(name)


def load(file: Path) -> list[Trial]:
    """The trials of a service from an earlier run; none when there was no such run."""
    if not file.exists():
        return []
    trials = json.loads(file.read_text())
    return [Trial(**t | {"requests": [Request(**r) for r in t["requests"]]}) for t in trials]


def main() -> None:
    """Run the chosen trials; print the page, and write it if a path is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("health-rivals-work"), help="environments, logs, raw results")
    parser.add_argument("--only", nargs="*", choices=ADAPTERS, default=list(ADAPTERS), help="services to run now")
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--seconds", type=float, default=25.0, help="how long each fault is observed")
    parser.add_argument("--write", type=Path, help="the Markdown file to write")
    parser.add_argument("--remark", default="", help="a sentence for the page, such as what else ran on the machine")
    options = parser.parse_args()
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    recording = RECORDING.read_bytes()
    pythons = {name: environment(name, work) for name in options.only}
    for fault in options.faults:
        for name in options.only:  # one after the other, so that whatever else runs on the machine troubles all alike
            service = ADAPTERS[name](pythons[name], work / f"{name}-{fault}.log")
            print(f"{service.name}: {fault} ...", file=sys.stderr, flush=True)
            kept = {trial.fault: trial for trial in load(work / f"{name}.json")}
            kept[fault] = run(service, fault, recording, options.seconds)
            (work / f"{name}.json").write_text(json.dumps([asdict(trial) for trial in kept.values()]))
    trials = [trial for name in ADAPTERS for trial in load(work / f"{name}.json")]
    page = table.page(
        trials,
        {adapter.name: version(name) for name, adapter in ADAPTERS.items()},
        {adapter.name: adapter.settings for adapter in ADAPTERS.values()},
        options.remark,
    )
    print(page)
    if options.write:
        options.write.write_text(page)


if __name__ == "__main__":
    main()
