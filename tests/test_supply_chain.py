"""What is installed: locked with hashes, with known licences, and looked up for known weaknesses."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETS = sorted(ROOT.glob("requirements/*.txt"))


def bench(name: str):
    specification = importlib.util.spec_from_file_location(name, ROOT / f"bench/{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def licences():
    return bench("licences")


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_every_locked_package_has_hashes(path):
    packages = re.split(r"^(?=[A-Za-z0-9])", path.read_text(), flags=re.MULTILINE)[1:]
    assert packages
    for package in packages:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", package)
        assert "--hash=sha256:" in package


def test_only_the_smallest_set_is_without_pyav(licences):
    assert {path.stem for path in SETS if "av" in licences.locked(path.stem)} >= {"serve", "page", "test", "train"}
    assert "av" not in licences.locked("base")
    assert set(licences.locked("serve")) - set(licences.locked("base")) == {"av"}


def test_nothing_is_installed_without_hashes():
    for line in (ROOT / "Makefile").read_text().splitlines():
        if "-r requirements" in line:
            assert "--require-hashes" in line


@pytest.mark.skipif(sys.platform != "linux", reason="the table is of Linux wheels")
def test_the_libraries_in_the_wheels_have_known_licences(licences):
    found = {package.name: licences.carried(package) for package in licences.installed(licences.locked("serve"))}
    assert {"x264", "x265", "avcodec"} <= set(found["av"])
    assert "GPL" in found["av"]["x264"]
    assert not [name for libraries in found.values() for name, text in libraries.items() if text == "unknown"]


def test_a_library_that_is_not_in_the_table_is_unknown(licences):
    class Package:
        files = (Path("a.libs/libnew-0123abcd.so.1.2"), Path("a/_module.cpython-311-x86_64-linux-gnu.so"))

    assert licences.carried(Package()) == {"new": "unknown"}


def test_the_page_says_what_pyav_brings(licences):
    text = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
    assert "x264 (GPL-2.0-or-later)" in text
    for name in licences.locked("serve"):
        assert not licences.installed([name]) or f"| {licences.installed([name])[0].name} " in text


def test_an_audit_without_data_is_no_clean_audit():
    audit = bench("audit")
    unknown = {"name": "a", "version": "1", "skip_reason": "not found"}
    clean = {"name": "b", "version": "1", "vulns": []}
    bad = {"name": "c", "version": "1", "vulns": [{"id": "CVE-1"}]}
    assert audit.verdict([unknown]) == ("skipped: the data on vulnerabilities cannot be had here", False)
    assert audit.verdict([unknown, clean]) == (
        "no vulnerability is known of 1 packages; 1 could not be looked up",
        False,
    )
    assert audit.verdict([clean, bad]) == ("c 1: CVE-1", True)


def test_a_program_that_does_not_answer_is_no_clean_audit():
    assert bench("audit").audit("true", ROOT / "requirements/page.txt")[0].startswith("skipped")
