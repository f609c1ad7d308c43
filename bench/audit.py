"""Known vulnerabilities of the locked packages, by pip-audit.

Where its data cannot be had, pip-audit skips every package and succeeds. Then this says "skipped", and never "none".
Exit code 1: a package has a known vulnerability.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SETS = ("page", "test")
"""What people install, and what the tests run with."""
TIMEOUT_SECONDS = 300


def verdict(dependencies: list[dict[str, Any]]) -> tuple[str, bool]:
    """One line about the answer of pip-audit, and whether a vulnerability is known."""
    looked_up = [entry for entry in dependencies if "skip_reason" not in entry]
    found = [f"{entry['name']} {entry['version']}: {known['id']}" for entry in looked_up for known in entry["vulns"]]
    if found:
        return "; ".join(found), True
    if not looked_up:
        return "skipped: the data on vulnerabilities cannot be had here", False
    skipped = len(dependencies) - len(looked_up)
    rest = f"; {skipped} could not be looked up" if skipped else ""
    return f"no vulnerability is known of {len(looked_up)} packages{rest}", False


def audit(program: str, requirements: Path) -> tuple[str, bool]:
    """Run pip-audit on one locked file."""
    words = [
        program,
        "-r",
        str(requirements),
        "--require-hashes",
        "--disable-pip",
        "--format=json",
        "--progress-spinner=off",
    ]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
        return verdict(json.loads(done.stdout)["dependencies"])
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return "skipped: pip-audit has no answer here", False


def main() -> int:
    program = sys.argv[1]
    is_vulnerable = False
    for name in SETS:
        text, found = audit(program, Path(__file__).parents[1] / f"requirements/{name}.txt")
        print(f"requirements/{name}.txt: {text}")
        is_vulnerable |= found
    return int(is_vulnerable)


if __name__ == "__main__":
    sys.exit(main())
