"""docs/cli.md and docs/settings.md are generated from the code."""

from pathlib import Path

import pytest

from ccmusic.alerting.settings import BridgeSettings
from ccmusic.cli import build_parser, main
from ccmusic.commands.cli_page import cli_page
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.settings_page import SECTIONS, settings_page
from ccmusic.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_the_command_line_is_current(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help-markdown"])
    assert end.value.code == 0
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == page, "run: ccmusic --help-markdown > docs/cli.md"


def test_the_page_has_every_command_with_an_example_and_every_exit_code():
    page = cli_page(build_parser())
    sections = page.split("\n## ")[1:]
    for section in sections[:-1]:
        assert "\nExample: `" in section, section.partition("\n")[0]
    assert sections[-1].startswith("Exit codes")
    assert all(f"| {code.value} | {code.meaning} |" in sections[-1] for code in ExitCode)


def test_every_argument_has_a_help_text():
    rows = [line for line in cli_page(build_parser()).splitlines() if line.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_page_of_the_settings_is_current(capsys):
    assert main(["settings", "--markdown"]) == ExitCode.OK
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == page, "run: ccmusic settings --markdown > docs/settings.md"


def test_the_page_has_every_setting_and_no_value_of_this_machine(monkeypatch):
    monkeypatch.setenv("CCMUSIC_PORT", "1234")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    page = settings_page()
    assert "1234" not in page
    assert "/elsewhere" not in page
    assert all(f"| `CCMUSIC_{name.upper()}` |" in page for name in Settings.model_fields)
    assert all(f"| `CCMUSIC_BRIDGE_{name.upper()}` |" in page for name in BridgeSettings.model_fields)
    assert "| `CCMUSIC_MANAGEMENT_PORT` | integer, from 0 to 65,535 | not set |" in page


def test_every_setting_has_a_description_and_every_section_begins_with_one():
    for fields in (Settings.model_fields, BridgeSettings.model_fields):
        assert [name for name, field in fields.items() if not field.description] == []
    assert set(SECTIONS) <= set(Settings.model_fields)


def test_the_numbers_of_the_exit_codes_never_change():
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "SOME_FAILED": 1,
        "USAGE": 2,
        "SETTINGS": 3,
        "ADDRESS": 4,
        "MODEL": 5,
        "NOT_GREEN": 6,
        "WRONG_ANSWER": 7,
        "UNREACHABLE": 8,
        "DOCTOR_FAILED": 9,
        "NOT_NOTICED": 10,
        "NOT_RECOVERED": 11,
        "REFUSED": 12,
        "OUTPUT_FULL": 13,
        "OUTPUT_CLOSED": 14,
        "CATALOGUE": 15,
        "PACKAGE_MISSING": 16,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }
